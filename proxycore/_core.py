"""The core: one event in, with the time; out comes, in order, everything that must now be done."""

from typing import assert_never

from . import _explain
from . import effects as fx
from . import events as ev
from ._books import Books, ServiceBook, Ticket
from ._check import check
from ._claims import placement_of
from ._diff import Replacing, enter, forget_gone
from ._errors import InvariantError, LocalError
from ._ids import ServiceId, TicketId
from ._ledger import Room
from ._lifecycle import State
from ._measured import Measured
from ._memory import DeviceBook
from ._picture import picture
from ._settle import Settler
from ._timers import NEVER
from ._verbs import SHUTDOWN_RETRY_S, Verbs
from .config import BACKOFF_S, STABLE_S, CoreConfig
from .events import Cause
from .policy import DEFAULT, EvictionPolicy
from .view import CoreView

_CLOSING = "shutting down"

STUCK = (State.READY, State.DRAINING, State.SLEEPING, State.ASLEEP, State.WAKING)
"""The states in which a run may be told to be stuck: before, it was not ready; after, it leaves."""


class Core:
    """Decides which service runs, who is admitted, and who leaves.

    Sans-IO: it has no clock, starts nothing and logs nothing.  Tell it what happened with
    `handle`, do what it returns, and call it again at `deadline`, at the latest, with `Tick()`.

    >>> from proxycore import Core, CoreConfig, RequestArrived, ServiceSpec, StartRun
    >>> core = Core(CoreConfig(services=(ServiceSpec("chat"),)), now=20.0)
    >>> effects = core.handle(RequestArrived(1, "chat", deadline_at=620.0), now=20.0)
    >>> [effect for effect in effects if isinstance(effect, StartRun)]
    [StartRun(service='chat', run=1, placement=Placement(amounts=()), host=None)]

    The order of work in `handle` is the contract: check (whatever is the caller's fault is refused
    before any change), time (timers due by now fire first, so that a late Tick cannot matter),
    note (change the one service or ticket that the event names), settle (to a fixed point).
    """

    def __init__(
        self, config: CoreConfig, *, now: float, policy: EvictionPolicy | None = None
    ) -> None:
        services = {spec.id: ServiceBook(spec.id, since_at=now) for spec in config.services}
        self._start(config, Books(now, services), policy or DEFAULT)

    @classmethod
    def resume(
        cls, config: CoreConfig, books: Books, *, policy: EvictionPolicy | None = None
    ) -> "Core":
        """Go on from books that `journal` has kept, as if nothing had been in between."""
        core = cls.__new__(cls)
        core._start(config, books, policy or DEFAULT)
        return core

    def _start(self, config: CoreConfig, books: Books, policy: EvictionPolicy) -> None:
        self.config = config
        """What it decides by; read it, and have it replaced by `ConfigReplaced` only."""
        self.books = books
        """All that it remembers.  For `journal`; others read `view`."""
        self.policy = policy
        self._verbs = Verbs(config, books)
        self._measured = Measured(self._verbs)
        self._settler = Settler(self._verbs, policy)
        self._is_forgetting = any(book.retired is not None for book in books.services.values())

    def handle(self, event: ev.Event, now: float) -> tuple[fx.Effect, ...]:
        """Take note of an event; return all that must now be done, in order.

        Args:
            event: what happened.
            now: the time in seconds; its origin means nothing, but it never runs backwards.

        Raises:
            LocalError: the event cannot be: an unknown service, a ticket used twice, a run that
                was never started, a clock that ran backwards.  Nothing changed.
        """
        check(event, now, self.config, self.books)
        self.books.now = now
        if self._first_at() <= now:
            self._catch_up()
        self._note(event)
        self._settler.settle()
        if isinstance(event, ev.RequestArrived | ev.StartRequested | ev.RestartRequested):
            self._tell_waiting(event.ticket, self.books.services[event.service])
        elif isinstance(event, ev.ConfigReplaced):
            self._catch_up()  # By the new limits something may have been due for long.
        effects = tuple(self._verbs.out)
        self._verbs.out.clear()
        if self._is_forgetting and forget_gone(self.books):
            self._start(self.config, self.books, self.policy)
        return effects

    def deadline(self) -> float | None:
        """Return when `handle(Tick(), ...)` is due at the latest; None: not before an event."""
        at = self._first_at()
        return None if at == NEVER else at

    def _first_at(self) -> float:
        at, books = self._verbs.timers.first_at, self.books
        if books.deadlines and books.deadlines[0][0] < at:
            at = books.deadlines[0][0]
        if books.reconsider_at is not None and books.reconsider_at < at:
            at = books.reconsider_at
        return at

    def view(self) -> CoreView:
        """Return a picture of everything."""
        return picture(self._verbs)

    def at_most(self, service: ServiceId) -> fx.Want:
        """Return what a service needs, a model together with its host, and what it could have.

        That is what would be free if all left that ever may: not pinned runs, nor strangers.

        Raises:
            LocalError: there is no such service.
        """
        if service not in self.books.services:
            raise LocalError(f"unknown service {service!r}")
        return self._settler.at_most(self.books.services[service])

    # Time

    def _catch_up(self) -> None:
        """Let everything happen that is due by now."""
        while self._first_at() <= self.books.now:
            self._fire_due()
            self._settler.settle()

    def _fire_due(self) -> None:
        """Fire the first thing that is due by now.

        Timers of services and of tickets go by one order of time: else a late Tick could make
        room for a ticket whose time was over before that room came.
        """
        books = self.books
        due = [
            (book.timer_at, book.id)
            for book in books.services.values()
            if book.timer_at is not None and book.timer_at <= books.now
        ]
        if due and (not books.deadlines or min(due)[0] <= books.deadlines[0][0]):
            self._time_out(books.services[min(due)[1]])
        elif books.deadlines and books.deadlines[0][0] <= books.now:
            ticket = books.deadlines[0][1]
            book = books.services[books.tickets[ticket]]
            message = f"waited too long for {book.id}: {self._waits_for(book)}"
            want = self._want(book)
            again_s = self._verbs.specs[book.id].load_s
            self._verbs.refuse(book, ticket, fx.Reason.QUEUE_TIMEOUT, message, again_s, want)
        else:
            self._verbs.room_changed = True  # Settling does what it is for, and sets it anew.

    def _time_out(self, book: ServiceBook) -> None:
        spec = self._verbs.specs[book.id]
        match book.state:
            case State.STARTING:
                message = f"not ready after {self.books.now - book.since_at:.0f} s"
                if self.books.now < book.start_max_at:
                    message += f", and no sign of life in its log for {spec.start_s:.0f} s"
                message += "; raise start_s or start_max_s if it only needs longer"
                self._verbs.stop_failed(book, Cause("start_timeout", message))
                for one in self._verbs.hosts.with_models(book):
                    self._verbs.refuse_all(one, fx.Reason.START_TIMEOUT, message, BACKOFF_S)
            case State.READY if self._verbs.residue(book) is not None:
                self._verbs.sleep(book, "idle")
            case State.READY | State.ASLEEP:
                self._verbs.stop(book, "idle")
            case State.SLEEPING if book.slept:
                self._verbs.slept(book)  # What did not come back is in nobody's claim.
            case State.SLEEPING:
                message = f"not asleep after {self.books.now - book.since_at:.0f} s"
                self._verbs.stop_failed(book, Cause("sleep_timeout", message))
            case State.WAKING:
                message = f"not awake after {self.books.now - book.since_at:.0f} s"
                self._verbs.stop_failed(book, Cause("wake_timeout", message))
            case State.DRAINING if book.drains_for is not None and not spec.drain_cuts:
                why = f"its requests take too long; {book.drains_for} must wait on"
                self._verbs.undrain(book, why)
            case State.DRAINING if book.drains_to_sleep and book.drains_for is None:
                self._verbs.undrain(book, "its requests take too long; it stays awake")
            case State.DRAINING:
                self._verbs.stop(book, f"{book.why}; requests cut: {len(book.in_flight)}")
            case State.STOPPING if (host := self._verbs.hosts.host_of(book)) is not None:
                # A model is no process that could be killed.
                self._verbs.stop_failed(host, Cause("stuck", f"it does not unload {book.id}"))
            case State.STOPPING:
                self._verbs.kill(book)
            case State.VERIFYING:
                self._measured.verified(book, f"{book.why}; not all of its memory came back")
            case State.BACKOFF:
                self._verbs.retry(book, "it may be tried again")
            case _:
                raise InvariantError(f"{book.id}: no timer belongs to {book.state.value}")

    # Note

    def _note(self, event: ev.Event) -> None:
        books, verbs = self.books, self._verbs
        if isinstance(event, ev.RunEvent):
            known = books.services.get(event.service)
            if known is not None and known.run == event.run:
                self._note_run(known, event)
            return  # An older run's answer changes nothing.
        match event:
            case ev.Tick():
                pass
            case ev.RequestArrived():
                book = books.services[event.service]
                for one in (book, verbs.hosts.host_of(book)):
                    if one is not None:
                        one.learnt.note_request(books.now, books.rent)
                self._arrive(event, by_hand=False)
            case ev.RequestFinished():
                verbs.finish(event.ticket)
            case ev.StartRequested() | ev.RestartRequested():
                self._wanted_by_hand(event)
                self._arrive(event, by_hand=True)
            case ev.StopRequested():
                book = books.services[event.service]
                for one in verbs.hosts.with_models(book):
                    verbs.refuse_all(one, fx.Reason.STOPPED, "stopped by hand")
                verbs.leave(book, "stopped by hand", force=event.force)
            case ev.SleepRequested():
                book = books.services[event.service]
                if verbs.residue(book) is None:
                    pass  # Where it is now it cannot.
                elif book.state is State.READY and book.in_flight:
                    verbs.drain(book, "put to sleep by hand")
                    book.drains_to_sleep = True
                elif book.state is State.READY:
                    verbs.sleep(book, "put to sleep by hand")
            case ev.ShutdownRequested():
                books.closing_at = event.deadline_at
                now_or_never = event.deadline_at <= books.now  # A timer must be in the future.
                for book in books.services.values():
                    verbs.refuse_all(book, fx.Reason.SHUTTING_DOWN, _CLOSING, SHUTDOWN_RETRY_S)
                    if verbs.hosts.host_of(book) is not None:
                        continue  # It ends with its host.
                    verbs.leave(book, "shutdown", for_good=True, force=now_or_never)
                    if book.state is State.DRAINING:
                        verbs.arm(book, event.deadline_at)
            case ev.RunsFound():
                books.run_max = max(books.run_max, event.run_max)
                # Hosts before what lives in them.
                for found in sorted(
                    event.found, key=lambda one: verbs.specs[one.service].host is not None
                ):
                    self._adopt(found)
            case ev.RuntimeLost() | ev.RuntimeFound():
                lost = event.message if isinstance(event, ev.RuntimeLost) else None
                for service in event.services:
                    for one in verbs.hosts.with_models(books.services[service]):
                        one.lost = lost
                        verbs.touch(one)
                        verbs.refuse_lost(one)
            case ev.MemoryMeasured():
                measured = DeviceBook(event.total, event.free, dict(event.by_run), event.complete)
                self._measured.note(event.device, measured)
            case ev.MemoryUnknown():
                for device in event.devices:
                    self._measured.forget(device)
            case ev.ExperienceFound():
                for service, experience in event.experiences:
                    books.services[service].learnt.recall(experience)
                    verbs.touch(books.services[service])
            case ev.ConfigReplaced():
                self._replace(event.config)
            case _:
                assert_never(event)

    def _replace(self, config: CoreConfig) -> None:
        """Decide by another configuration from now on.

        What it decides with is made anew, as from a snapshot: all that lasts is in the books.
        """
        before, out = self._verbs.specs, self._verbs.out
        devices = {device.id: device for device in self.config.devices}
        enter(config, before, self.books)
        self._start(config, self.books, self.policy)
        self._verbs.out = out
        for device in config.devices:
            if device != devices.get(device.id) and device.id in self.books.measured:
                self._measured.judge_again(device.id)
        Replacing(self._verbs, before).follow()
        for book in self.books.services.values():
            if book.waiting:
                self._refuse_hopeless(book)

    def _adopt(self, found: ev.FoundRun) -> None:
        book, verbs = self.books.services[found.service], self._verbs
        _, promisable = verbs.rooms()  # Who was sent away just now will be gone.
        verbs.adopt(book, found)
        why = "found running, but there is no room for it any more"
        if not verbs.hosts.is_open(book):
            verbs.end_with_host(book, why)
        elif not promisable.fits(placement_of(book)):
            verbs.stop(book, why)

    def _arrive(
        self, event: ev.RequestArrived | ev.StartRequested | ev.RestartRequested, *, by_hand: bool
    ) -> None:
        """Let a new ticket wait, unless there is nothing to wait for."""
        books, verbs = self.books, self._verbs
        books.ticket_max = ticket = event.ticket
        book = books.services[event.service]
        failed = self._what_failed(book)
        verbs.queue(book, Ticket(ticket, books.now, event.deadline_at, by_hand))
        if books.closing_at is not None:
            verbs.refuse(book, ticket, fx.Reason.SHUTTING_DOWN, _CLOSING, SHUTDOWN_RETRY_S)
        elif event.deadline_at <= books.now:
            why, again_s = "its time was over on arrival", verbs.specs[book.id].load_s
            verbs.refuse(book, ticket, fx.Reason.QUEUE_TIMEOUT, why, again_s)
        elif failed is not None:
            verbs.refuse_failed(book, failed)
        else:
            self._refuse_hopeless(book)

    def _what_failed(self, book: ServiceBook) -> ServiceBook | None:
        """Return what has failed, a service or its host; None: neither."""
        for one in (book, self._verbs.hosts.host_of(book)):
            if one is not None and (one.fails or one.state in (State.BACKOFF, State.FAILED)):
                return one
        return None

    def _refuse_hopeless(self, book: ServiceBook) -> None:
        """Refuse everybody who waits for what cannot be: a start without room or runtime."""
        self._verbs.refuse_lost(book)
        if book.state not in (State.DOWN, State.RESERVED, State.VERIFYING):
            return
        empty = Room.of(self.config.devices)
        if not any(map(empty.fits_all, self._verbs.ways(book))):
            message = f"{book.id} claims more than there is: {_explain.excess(self._verbs, book)}"
            self._verbs.refuse_all(book, fx.Reason.NEVER_FITS, message)

    def _tell_waiting(self, ticket: TicketId, book: ServiceBook) -> None:
        """Say of a new ticket that was not answered at once where it stands, or that it cannot.

        The limit comes after settling, because a place may have been free.  It never refuses the
        ticket that a start is made for: then others were waiting already.
        """
        if ticket not in book.waiting:
            return
        spec, ahead = self._verbs.specs[book.id], len(book.waiting) - 1
        if ahead >= spec.queue_max and not book.waiting[ticket].by_hand:
            message = f"as many requests are waiting for {book.id} as may: {ahead}"
            self._verbs.refuse(book, ticket, fx.Reason.QUEUE_FULL, message, spec.load_s)
            self._settler.settle()  # How many wait decides who is spared for them.
            return
        self._verbs.expire(book.waiting[ticket])
        why, want = self._waits_for(book), self._want(book)
        self._verbs.out.append(fx.Waiting(ticket, book.id, ahead + 1, why, book.state, want))

    def _want(self, book: ServiceBook) -> fx.Want | None:
        if not self._verbs.hosts.is_open(book):
            return None  # First its host must have room.
        lacks_room = book.state in (State.DOWN, State.ASLEEP)
        return self._settler.want(book) if lacks_room else None

    def _waits_for(self, book: ServiceBook) -> str:
        host = self._verbs.hosts.host_of(book)
        if host is not None and host.state is not State.READY:
            return f"{host.id} is {host.state.value}"
        if book.state is State.READY:
            return "every place is taken"
        if book.state in (State.DOWN, State.ASLEEP):
            return f"no room: {self._settler.lack(book)}"
        return str(book.state.value)

    def _wanted_by_hand(self, event: ev.StartRequested | ev.RestartRequested) -> None:
        book = self.books.services[event.service]
        for one in (self._verbs.hosts.host_of(book), book):
            if one is None:
                continue
            one.failures, one.cause, one.fails, one.retries = 0, None, False, False
            if one.state in (State.BACKOFF, State.FAILED):
                self._verbs.retry(one, "started by hand")
            if one is book and isinstance(event, ev.RestartRequested):
                self._verbs.leave(book, "restarted by hand", for_good=True)
            elif one.state is State.DRAINING and not (one.leaves_for_good or one.drains_for):
                self._verbs.undrain(one, "wanted again")

    def _note_run(self, book: ServiceBook, event: ev.RunEvent) -> None:
        if book.state is State.ROUSING and isinstance(event, ev.RunStuck | ev.RunGone):
            self._verbs.release(book, event.cause.message)
        match event:
            case ev.RunAlive() if book.state in (State.STARTING, State.WAKING):
                self._verbs.extend_start(book)
            case ev.RunReady() if book.state is State.STARTING:
                self._verbs.ready(book)
            case ev.RunSlept() if book.state is State.SLEEPING and not book.slept:
                self._measured.slept(book, event.holds)
            case ev.RunWoke() if book.state is State.WAKING:
                self._verbs.woke(book)
            case ev.RunStuck() if book.state in STUCK:
                self._verbs.stop_failed(book, event.cause)
            case ev.RunGone():
                self._gone(book, event.cause)
            case _:
                pass  # Told late: it is being stopped already.

    def _gone(self, book: ServiceBook, cause: Cause) -> None:
        """A run has ended: learn why, and what that means for those who wait."""
        for model in self._verbs.hosts.models(book):
            self._verbs.gone_with_host(model, f"{book.id} has ended")
        self._measured.learn(book, cause)
        if book.outdated or (book.state is State.STOPPING and book.blame is None):
            book.failures, book.cause = 0, None
            self._measured.verify(book, book.why)
        elif book.lost is not None:
            # What runs it went away and took it along: not the service's fault.
            self._measured.verify(book, book.lost)
        elif cause.out_of_memory and book.state is State.STARTING and not book.retries:
            book.retries, where = True, placement_of(book)
            self._measured.verify(book, f"once more, with more room: {cause.message}")
            self._settler.clear(book, where)
        else:
            self._failed(book, book.blame or cause)
        for one in self._verbs.hosts.with_models(book):
            self._refuse_hopeless(one)

    def _failed(self, book: ServiceBook, cause: Cause) -> None:
        """A run has failed us: start it again, or keep it down for a while."""
        was_ready_s = None if book.ready_at is None else self.books.now - book.ready_at
        book.cause = cause
        book.failures += 1
        if was_ready_s is not None and was_ready_s >= STABLE_S:
            book.failures = 1
        if cause.heals and was_ready_s is not None and book.failures == 1:
            # The first crash of a run that had worked: start again for those who wait.
            self._measured.verify(book, f"it ended by itself: {cause.message}")
        else:
            book.fails, book.retries = True, False
            self._measured.verify(book, cause.message)
            for one in self._verbs.hosts.with_models(book):
                self._verbs.refuse_failed(one, book)
