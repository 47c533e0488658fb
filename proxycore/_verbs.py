"""The verbs that change one service or one ticket, each with the effects that belong to it."""

import heapq

from . import effects as fx
from ._books import Books, ServiceBook, Ticket
from ._claims import Claims, placement_of
from ._errors import InvariantError
from ._ids import RunId, ServiceId, TicketId
from ._lifecycle import HOLDING, State, Step, advance
from ._timers import Timers
from .config import BACKOFF_MAX_S, BACKOFF_S, CoreConfig, Placement
from .events import Cause, FoundRun

KILL_AFTER_S = 5.0
"""Beyond grace_s: so long the shell has to report that the polite stop worked, or forced it."""
KILL_AGAIN_S = 10.0
SLEEP_S = 60.0
"""How long a run may take to fall asleep: it copies its memory, and frees it."""
LOST_RETRY_S = 5.0
"""When a client may ask again while what runs the service is away."""
SHUTDOWN_RETRY_S = 5.0
"""When a client may ask again: who stops the proxy mostly starts it anew."""


class Verbs(Claims):
    """Changes the books, and collects what must be done about it."""

    def __init__(self, config: CoreConfig, books: Books) -> None:
        super().__init__(config, books)
        self.out: list[fx.Effect] = []
        self.timers = Timers({book.id: book.timer_at for book in books.services.values()})
        self.touched: dict[ServiceId, ServiceBook] = {}
        """What changed since the last settling, which looks at nothing else."""
        self.room_changed = False
        """Who wants room shall be looked at again, though no service changed."""

    def touch(self, book: ServiceBook) -> None:
        """Have settling look at a service: who changes what it goes by has to say so.

        What lives in it, or in what it lives, is looked at with it, the host last.
        """
        for one in self.hosts.kin(book):
            self.touched[one.id] = one

    def arm(self, book: ServiceBook, at: float | None) -> None:
        """Set the deadline of the present state; None: it has none."""
        book.timer_at = at
        self.timers.set(book.id, at)

    # A service from state to state

    def reserve(self, book: ServiceBook, placement: Placement) -> None:
        self.books.promised_count += 1
        book.promised_order = self.books.promised_count
        book.promised = placement
        self.move(book, Step.RESERVE, f"{self.hosts.waiters(book)} waiting")

    def release(self, book: ServiceBook, why: str) -> None:
        """Take a promise back; who drains for its sake alone goes on serving."""
        self.move(book, Step.RELEASE, why)
        self._need_no_room(book)

    def _need_no_room(self, book: ServiceBook) -> None:
        for other in self.books.services.values():
            if other.drains_for == book.id and other.state is State.DRAINING:
                self.undrain(other, f"{book.id} does not need its room any more")

    def take_promised(self, book: ServiceBook) -> None:
        """Begin what room was promised for, and has come: a start, or a wake.

        It may have come from elsewhere: who still drains for it goes on serving.
        """
        if book.state is State.ROUSING:
            self.wake(book)
        else:
            self.launch(book)
        book.kept = any(one.starts_waiting for one in self.hosts.with_models(book))
        book.start_max_at = self.books.now + self.specs[book.id].start_max_s
        self.extend_start(book)
        self._need_no_room(book)

    def launch(self, book: ServiceBook) -> None:
        self.books.run_max = RunId(self.books.run_max + 1)
        book.run = self.books.run_max
        book.loads_alone = True
        for other in self.books.services.values():
            if other.state is State.STARTING:
                other.loads_alone = book.loads_alone = False
        book.home = book.placement = book.promised
        self.move(book, Step.LAUNCH, "there is room")
        host = self.hosts.host_of(book)
        inside = None if host is None else run_of(host)
        self.out.append(fx.StartRun(book.id, book.run, placement_of(book), inside))

    def wake(self, book: ServiceBook) -> None:
        book.placement = book.home
        self.move(book, Step.WAKE, "there is room")
        self.out.append(fx.WakeRun(book.id, run_of(book)))

    def extend_start(self, book: ServiceBook) -> None:
        alive_until = self.books.now + self.specs[book.id].start_s
        self.arm(book, min(alive_until, book.start_max_at))

    def adopt(self, book: ServiceBook, found: FoundRun) -> None:
        book.run, book.home, book.placement = found.run, found.placement, found.placement
        if found.asleep:
            book.placement = self.residue(book)
            self.move(book, Step.ADOPT_ASLEEP, "found asleep")
        else:
            self.move(book, Step.ADOPT, "found running")

    def ready(self, book: ServiceBook) -> None:
        most_s = float("inf") if book.loads_alone else self.load_s(book)
        book.learnt.note_load(self.books.now - book.since_at, most_s)
        book.retries = False
        self.move(book, Step.READY, "it answers")
        book.batch_max = next(reversed(book.waiting), TicketId(0))

    def woke(self, book: ServiceBook) -> None:
        book.learnt.note_wake(self.books.now - book.since_at)
        self.move(book, Step.WOKE, "it is awake")
        book.batch_max = next(reversed(book.waiting), TicketId(0))

    def sleep(self, book: ServiceBook, why: str) -> None:
        self._count_anew(placement_of(book))
        self.move(book, Step.SLEEP, why)
        self.arm(book, self.books.now + SLEEP_S)
        self.out.append(fx.SleepRun(book.id, run_of(book)))

    def slept(self, book: ServiceBook) -> None:
        book.placement = self.residue(book)
        self.move(book, Step.SLEPT, book.why)

    def drain(self, book: ServiceBook, why: str) -> None:
        self.move(book, Step.DRAIN, why)
        self.arm(book, self.books.now + self.specs[book.id].drain_s)

    def drain_for(self, book: ServiceBook, other: ServiceBook, *, to_sleep: bool) -> None:
        """Drain a run that serves, to give its room to another."""
        self.drain(book, f"room for {other.id}")
        book.drains_for, book.drains_to_sleep = other.id, to_sleep

    def undrain(self, book: ServiceBook, why: str) -> None:
        if book.drains_for is not None:
            # Who had hoped for its room begins to be patient anew: else it would drain at once.
            self.books.services[book.drains_for].patient_from = self.books.now
        self.move(book, Step.UNDRAIN, why)

    def stop(self, book: ServiceBook, why: str) -> None:
        self._count_anew(placement_of(book))
        self.move(book, Step.STOP, why)
        grace_s = self.specs[book.id].grace_s
        self.arm(book, self.books.now + grace_s + KILL_AFTER_S)
        self.out.append(fx.StopRun(book.id, run_of(book), grace_s))
        for model in self.hosts.models(book):
            self.end_with_host(model, why)

    def leave(
        self, book: ServiceBook, why: str, *, for_good: bool = False, force: bool = False
    ) -> None:
        """Begin to end whatever lives of a service: at once where it serves nobody."""
        if book.promised is not None:
            self.release(book, why)
        if book.state in (State.STARTING, State.SLEEPING, State.ASLEEP, State.WAKING):
            self.stop(book, why)
        elif book.state in (State.READY, State.DRAINING):
            if force or not self.hosts.is_serving(book):
                self.stop(book, why)
            elif book.state is State.READY:
                self.drain(book, why)
        if book.state is State.DRAINING:
            book.leaves_for_good |= for_good
            if book.drains_for is not None or book.drains_to_sleep:
                # It leaves in any case now; those it serves have the whole time from here.
                self.arm(book, self.books.now + self.specs[book.id].drain_s)
                self.touch(book)
            book.drains_for = None
            book.drains_to_sleep = False

    def end_with_host(self, model: ServiceBook, why: str) -> None:
        """Let a model end with its host: nothing is asked, and its claim stays as long."""
        if model.state is State.STOPPING:
            self.arm(model, None)
        elif model.state in HOLDING:
            self.move(model, Step.STOP, why)

    def gone_with_host(self, model: ServiceBook, why: str) -> None:
        """Note that a model is gone because its host is."""
        if model.state in HOLDING:
            self.move(model, Step.GONE, why)

    def _count_anew(self, placement: Placement) -> None:
        """Be content with little memory on the devices of one that leaves, until it has left."""
        for device in placement.devices:
            if (measured := self.books.measured.get(device)) is not None:
                measured.low_since = None

    def stop_failed(self, book: ServiceBook, cause: Cause) -> None:
        """Stop a run that failed us; once it is gone that counts as its failure."""
        book.blame = cause
        self.stop(book, cause.message)

    def kill(self, book: ServiceBook) -> None:
        """Ask for the end by force, again and again, ever more slowly; the claim stays."""
        book.kills += 1
        self.touch(book)  # Its room may be promised no longer.
        self.arm(book, self.books.now + KILL_AGAIN_S * book.kills)
        self.out.append(fx.KillRun(book.id, run_of(book)))

    def fail(self, book: ServiceBook, cause: Cause) -> None:
        """Keep the service down: for a while, or, if the cause does not heal, for good."""
        self.move(book, Step.BACK_OFF if cause.heals else Step.FAIL, cause.message)
        if cause.heals:
            self.arm(book, self.books.now + self._backoff_s(book))

    def _backoff_s(self, book: ServiceBook) -> float:
        return float(min(BACKOFF_S * 2.0 ** (book.failures - 1), BACKOFF_MAX_S))

    def retry(self, book: ServiceBook, why: str) -> None:
        self.move(book, Step.RETRY, why)

    def rest(self, book: ServiceBook) -> None:
        """Arm the idle timer of a run that nobody uses, awake or asleep; disarm it otherwise.

        Asleep it rests from when it fell asleep, or from when nobody wanted it any more.
        """
        spec = self.specs[book.id]
        if not self.hosts.unused(book) or spec.pinned or spec.idle_s is None:
            self.arm(book, None)
        elif book.state is State.READY:
            self.arm(book, book.rested_at + spec.idle_s)
        elif book.timer_at is None:
            self.arm(book, self.books.now + spec.idle_s)

    def move(self, book: ServiceBook, step: Step, why: str) -> None:
        """Take one step of the table, with all that belongs to the state entered."""
        old, run = book.state, book.run
        book.state = advance(old, step)
        book.since_at, book.why = self.books.now, why
        self.arm(book, None)
        book.slept = False
        if step in (Step.READY, Step.ADOPT, Step.ADOPT_ASLEEP):
            book.ready_at = self.books.now
        if step in (Step.LAUNCH, Step.READY, Step.ADOPT, Step.ADOPT_ASLEEP, Step.WOKE):
            book.rested_at = self.books.now
        if book.state not in (State.RESERVED, State.ROUSING):
            book.promised = None
        if book.state in (State.VERIFYING, State.DOWN, State.BACKOFF, State.FAILED):
            for ticket in book.in_flight:
                del self.books.tickets[ticket]
            book.in_flight.clear()
            book.run = book.ready_at = book.blame = None
            book.kills = 0
            book.leaves_for_good = False
            book.served = book.outdated = False
            book.proved.clear()
        if book.state in (State.DOWN, State.BACKOFF, State.FAILED):
            book.placement = book.home = None
            book.fails = False
            book.seen.clear()
        if book.state is not State.DRAINING:
            book.drains_for = None
            book.drains_to_sleep = False
        self._rouse_host(book)
        self.touch(book)
        self.out.append(fx.Changed(book.id, run, old, book.state, why))

    # Tickets

    def queue(self, book: ServiceBook, ticket: Ticket) -> None:
        book.waiting[ticket.id] = ticket
        self.books.tickets[ticket.id] = book.id
        self.touch(book)
        book.starts_waiting += ticket.by_hand
        for one in (book, self.hosts.host_of(book)):
            if one is not None and one.state in (State.STARTING, State.WAKING):
                one.kept |= ticket.by_hand

    def expire(self, ticket: Ticket) -> None:
        """Arm the deadline of a ticket that was not answered at once."""
        heap, tickets = self.books.deadlines, self.books.tickets
        if len(heap) > 2 * len(tickets):
            # Most were answered, behind one who still waits: else they would pile up.
            heap[:] = [entry for entry in heap if self._waits(entry[1])]
            heapq.heapify(heap)
        heapq.heappush(heap, (ticket.deadline_at, ticket.id))

    def admit(self, book: ServiceBook, ticket: Ticket) -> None:
        """Let a ticket in; a start by hand is answered, and takes no place."""
        self._unqueue(book, ticket.id)
        if ticket.by_hand:
            self.out.append(fx.Started(ticket.id, book.id, run_of(book)))
        else:
            book.in_flight[ticket.id] = None
            self.books.tickets[ticket.id] = book.id
            self.out.append(fx.Admit(ticket.id, book.id, run_of(book)))

    def finish(self, ticket: TicketId) -> None:
        """Forget a ticket, wherever it is; one that is known no more was answered long ago."""
        service = self.books.tickets.get(ticket)
        if service is None:
            return
        book = self.books.services[service]
        if ticket in book.waiting:
            self._unqueue(book, ticket)
        else:
            del book.in_flight[ticket]
            del self.books.tickets[ticket]
            self.touch(book)
            book.served = True
            book.rested_at = self.books.now
            self._rouse_host(book)
            for one in (book, self.hosts.host_of(book)):
                if one is not None and self.hosts.unused(one):
                    one.learnt.note_idle(self.books.now)

    def refuse(
        self,
        book: ServiceBook,
        ticket: TicketId,
        reason: fx.Reason,
        message: str,
        retry_after_s: float | None = None,
        want: fx.Want | None = None,
    ) -> None:
        self._unqueue(book, ticket)
        self.out.append(fx.Refuse(ticket, book.id, reason, message, retry_after_s, want))

    def refuse_all(
        self,
        book: ServiceBook,
        reason: fx.Reason,
        message: str,
        retry_after_s: float | None = None,
    ) -> None:
        for ticket in list(book.waiting):
            self.refuse(book, ticket, reason, message, retry_after_s)

    def refuse_failed(self, book: ServiceBook, failed: ServiceBook) -> None:
        """Refuse everybody with the reason why the last run failed, its own or its host's."""
        retry_s = None
        if failed.state is State.BACKOFF and failed.timer_at is not None:
            retry_s = failed.timer_at - self.books.now
        elif failed.state is State.VERIFYING and failed.cause is not None and failed.cause.heals:
            retry_s = self._backoff_s(failed)
        message = failed.cause.message if failed.cause else failed.why
        self.refuse_all(book, fx.Reason.SERVICE_FAILED, message, retry_s)

    def refuse_lost(self, book: ServiceBook) -> None:
        """Refuse everybody if the service cannot be started now, for want of what runs it."""
        if book.lost is None or book.state not in (State.DOWN, State.RESERVED):
            return
        if book.state is State.RESERVED:
            self.release(book, book.lost)
        self.refuse_all(book, fx.Reason.RUNTIME_LOST, book.lost, LOST_RETRY_S)

    def _unqueue(self, book: ServiceBook, ticket: TicketId) -> None:
        book.starts_waiting -= book.waiting.pop(ticket).by_hand
        del self.books.tickets[ticket]
        if self._rouse_host(book):
            book.rested_at = self.books.now  # Its host may drain: then it rests while some wait.
        self.touch(book)
        heap = self.books.deadlines
        if heap and heap[0][1] == ticket:
            while heap and not self._waits(heap[0][1]):
                heapq.heappop(heap)

    def _rouse_host(self, book: ServiceBook) -> bool:
        """Let a host not rest before the last thing that happened to a model; tell if it is one."""
        host = self.hosts.host_of(book)
        if host is None:
            return False
        host.rested_at = self.books.now
        return True

    def _waits(self, ticket: TicketId) -> bool:
        service = self.books.tickets.get(ticket)
        return service is not None and ticket in self.books.services[service].waiting


def run_of(book: ServiceBook) -> RunId:
    """Return the run of a service that must have one."""
    if book.run is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a run")
    return book.run
