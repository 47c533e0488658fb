"""The verbs that change one service or one ticket, each with the effects that belong to it."""

import heapq

from . import effects as fx
from ._books import Books, ServiceBook, Ticket
from ._errors import InvariantError
from ._ids import DeviceId, RunId, ServiceId, TicketId
from ._ledger import Room
from ._lifecycle import State, Step, advance
from ._memory import Holding, unclaimed
from ._timers import Timers
from .config import BACKOFF_MAX_S, BACKOFF_S, CoreConfig, Placement, ServiceSpec
from .events import Cause, FoundRun

KILL_AFTER_S = 5.0
"""Beyond grace_s: so long the shell has to report that the polite stop worked, or forced it."""
KILL_AGAIN_S = 10.0
OVERDUE_KILLS = 2
"""A run that outlived so many kills is not counted on to leave: promises of its room are void."""
SLEEP_S = 60.0
"""How long a run may take to fall asleep: it copies its memory, and frees it."""
LOST_RETRY_S = 5.0
"""When a client may ask again while what runs the service is away."""


class Verbs:
    """Changes the books, and collects what must be done about it."""

    def __init__(self, config: CoreConfig, books: Books) -> None:
        self.config = config
        self.specs: dict[ServiceId, ServiceSpec] = {spec.id: spec for spec in config.services}
        self.books = books
        self.out: list[fx.Effect] = []
        self.timers = Timers({book.id: book.timer_at for book in books.services.values()})
        self.touched: dict[ServiceId, ServiceBook] = {}
        """What changed since the last settling, which looks at nothing else."""
        self.room_changed = False
        """Who wants room shall be looked at again, though no service changed."""

    def touch(self, book: ServiceBook) -> None:
        """Have settling look at a service: who changes what it goes by has to say so."""
        self.touched[book.id] = book

    def arm(self, book: ServiceBook, at: float | None) -> None:
        """Set the deadline of the present state; None: it has none."""
        book.timer_at = at
        self.timers.set(book.id, at)

    # Room

    def rooms(self) -> tuple[Room, Room]:
        """Return what is free now, and what is free or about to be, and not promised.

        The claim of a run counts until it is gone.
        """
        now_free = Room.of(self.config.devices)
        promisable = Room.of(self.config.devices)
        for book in self.books.services.values():
            if book.promised is not None:
                promisable.take(book.promised)
            if book.placement is not None:
                now_free.take(book.placement)
                promisable.take(self._stays(book))
        if self.books.measured:
            holding = self.holding()
            for device in self.config.devices:
                if (measured := self.books.measured.get(device.id)) is not None:
                    lacks = device.capacity - measured.total
                    rest = unclaimed(device.id, measured, holding)
                    now_free.lose(device.id, max(0, lacks + rest.now))
                    promisable.lose(device.id, max(0, lacks + rest.later))
        return now_free, promisable

    def foreign(self) -> dict[DeviceId, int]:
        """Return what strangers hold, and will once all that leaves has left, where known."""
        holding = self.holding()
        return {
            device: unclaimed(device, measured, holding).foreign_later
            for device, measured in self.books.measured.items()
        }

    def takes(self, book: ServiceBook) -> Placement:
        """Return what the end of a run would free: what it claims, and what it took beyond."""
        return self._held(book, book.holds or Placement())

    def _held(self, book: ServiceBook, claim: Placement) -> Placement:
        """Return a claim of a service, raised to what its run was seen to hold."""
        amounts = dict(claim.amounts)
        for device, measured in self.books.measured.items():
            if book.run is not None and (seen := measured.by_run.get(book.run, 0)):
                amounts[device] = max(seen, amounts.get(device, 0))
        return Placement.of(amounts.items())

    def holding(self) -> list[Holding]:
        """Return all runs that have memory."""
        return [
            Holding(
                book.state,
                book.ready_at is not None,
                book.run,
                book.placement,
                self._leaves(book),
            )
            for book in self.books.services.values()
            if book.placement is not None
        ]

    def _leaves(self, book: ServiceBook) -> bool:
        """Tell whether a run is counted on to leave, if only to sleep."""
        return book.state in (State.DRAINING, State.SLEEPING, State.VERIFYING) or (
            book.state is State.STOPPING and book.kills < OVERDUE_KILLS
        )

    def _stays(self, book: ServiceBook) -> Placement:
        """Return what a run will still claim once it has left as it is about to."""
        if not self._leaves(book):
            return placement_of(book)
        sleeps = book.state is State.SLEEPING or book.drains_to_sleep
        return (self.residue(book) if sleeps else None) or Placement()

    def residue(self, book: ServiceBook) -> Placement | None:
        """Return what the run of a service claims asleep; None: it cannot sleep."""
        return None if book.home is None else self.specs[book.id].residue(book.home)

    def needs(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return the rooms of which a service that waits for room needs one.

        A run that sleeps needs what it lacks beside all that it holds, in its place alone.
        """
        if book.home is None:
            return self.placements(book)
        return (book.home.less(self._held(book, placement_of(book))),)

    def placements(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return where a service may live, with what it is expected to take there."""
        declared = self.specs[book.id].placements
        if not book.learnt.peaks:
            return declared
        usable = {device.id: device.usable for device in self.config.devices}
        return tuple(book.learnt.estimate(placement, usable) for placement in declared)

    def load_s(self, book: ServiceBook) -> float:
        """Return how long a load of the service is expected to take."""
        return book.learnt.load_s or self.specs[book.id].load_s

    def wake_s(self, book: ServiceBook) -> float:
        """Return how long the service is expected to take to wake."""
        return book.learnt.wake_s or self.specs[book.id].wake_s

    # A service from state to state

    def reserve(self, book: ServiceBook, placement: Placement) -> None:
        self.books.promised_count += 1
        book.promised_order = self.books.promised_count
        book.promised = placement
        self.move(book, Step.RESERVE, f"{len(book.waiting)} waiting")

    def release(self, book: ServiceBook, why: str) -> None:
        """Take a promise back; who drains for its sake alone goes on serving."""
        self.move(book, Step.RELEASE, why)
        self._rest_asleep(book)
        for other in self.books.services.values():
            if other.drains_for == book.id and other.state is State.DRAINING:
                self.undrain(other, f"{book.id} does not need its room any more")

    def take_promised(self, book: ServiceBook) -> None:
        """Begin what room was promised for, and has come: a start, or a wake."""
        if book.state is State.ROUSING:
            self.wake(book)
        else:
            self.launch(book)
        book.kept = book.starts_waiting > 0
        book.start_max_at = self.books.now + self.specs[book.id].start_max_s
        self.extend_start(book)

    def launch(self, book: ServiceBook) -> None:
        self.books.run_max = RunId(self.books.run_max + 1)
        book.run = self.books.run_max
        book.home = book.placement = book.promised
        self.move(book, Step.LAUNCH, "there is room")
        self.out.append(fx.StartRun(book.id, book.run, placement_of(book)))

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
            self._rest_asleep(book)
        else:
            self.move(book, Step.ADOPT, "found running")

    def ready(self, book: ServiceBook) -> None:
        book.learnt.note_load(self.books.now - book.since_at)
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
        self._rest_asleep(book)

    def _rest_asleep(self, book: ServiceBook) -> None:
        """Arm the idle timer of a run that is asleep now."""
        spec = self.specs[book.id]
        if book.state is State.ASLEEP and not spec.pinned and spec.idle_s is not None:
            self.arm(book, self.books.now + spec.idle_s)

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
        """Arm the idle timer of a ready run that nobody uses; disarm it otherwise."""
        if book.state is not State.READY:
            return
        spec = self.specs[book.id]
        if not book.unused or spec.pinned or spec.idle_s is None:
            self.arm(book, None)
        else:
            self.arm(book, book.rested_at + spec.idle_s)

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
            book.served = False
        if book.state in (State.DOWN, State.BACKOFF, State.FAILED):
            book.placement = book.home = None
            book.fails = False
            book.seen.clear()
        if book.state not in (State.STARTING, State.WAKING):
            book.kept = False
        if book.state is not State.DRAINING:
            book.drains_for = None
            book.drains_to_sleep = False
        self.touch(book)
        self.out.append(fx.Changed(book.id, run, old, book.state, why))

    # Tickets

    def queue(self, book: ServiceBook, ticket: Ticket) -> None:
        book.waiting[ticket.id] = ticket
        self.books.tickets[ticket.id] = book.id
        self.touch(book)
        book.starts_waiting += ticket.by_hand
        book.kept |= ticket.by_hand and book.state in (State.STARTING, State.WAKING)

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
            if book.unused:
                book.learnt.note_idle(self.books.now)

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

    def refuse_failed(self, book: ServiceBook) -> None:
        """Refuse everybody with the reason why the last run failed."""
        retry_s = None
        if book.state is State.BACKOFF and book.timer_at is not None:
            retry_s = book.timer_at - self.books.now
        elif book.state is State.VERIFYING and book.cause is not None and book.cause.heals:
            retry_s = self._backoff_s(book)
        message = book.cause.message if book.cause else book.why
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
        self.touch(book)
        heap = self.books.deadlines
        if heap and heap[0][1] == ticket:
            while heap and not self._waits(heap[0][1]):
                heapq.heappop(heap)

    def _waits(self, ticket: TicketId) -> bool:
        service = self.books.tickets.get(ticket)
        return service is not None and ticket in self.books.services[service].waiting


def run_of(book: ServiceBook) -> RunId:
    """Return the run of a service that must have one."""
    if book.run is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a run")
    return book.run


def placement_of(book: ServiceBook) -> Placement:
    """Return the claim of a service that must have one."""
    if book.placement is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a placement")
    return book.placement


def promised_to(book: ServiceBook) -> Placement:
    """Return the room that is promised to a service that must have a promise."""
    if book.promised is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a promise")
    return book.promised
