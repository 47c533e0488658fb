"""What must hold between two events: all is settled, all waits have an end, the picture is true."""

from .. import events as ev
from .._core import Core
from .._ids import ServiceId
from .._lifecycle import State
from ..view import CoreView, ServiceView
from ._books import Books, Run
from ._promises import Inspector
from ._tickets import broken

_WITHOUT_RUN = (State.DOWN, State.RESERVED, State.VERIFYING, State.BACKOFF, State.FAILED)


class Rest:
    """Asks the core for its picture and its deadline, and tells it what is no news."""

    def __init__(self, core: Core, books: Books, inspector: Inspector) -> None:
        self._core = core
        self._books = books
        self._inspector = inspector

    def check(self) -> None:
        """Check all that must hold while nothing happens.

        Raises:
            Broken: a promise.
        """
        core, books = self._core, self._books
        view, deadline = core.view(), core.deadline()
        if deadline is not None and deadline <= books.now:
            broken(8, f"at {books.now} the deadline is {deadline}, which is over")
        if core.deadline() != deadline or core.view() != view:
            broken(8, "to ask for the deadline changes something")
        self._check_ends(float("inf") if deadline is None else deadline)
        effects = core.handle(ev.Tick(), books.now)
        self._inspector.enter(ev.Tick(), effects)  # What harm it does is the worse news.
        # Of what is at work already it is told once more that it works: all is looked at again.
        works = tuple(one for one in books.specs if books.is_there(one) and not self._is_lost(one))
        effects += core.handle(ev.RuntimeFound(works), books.now)
        self._inspector.enter(ev.RuntimeFound(works), effects)
        if effects or core.view() != view or core.deadline() != deadline:
            broken(7, f"to settle once more changes something: {effects}")
        self._check_waiting()  # Of what settling left undone, this is the consequence.
        self._inspector.check_config(view)
        self._check_picture(view)

    def _is_lost(self, service: ServiceId) -> bool:
        return any(one in self._books.lost for one in (service, *self._books.models(service)))

    def _check_ends(self, deadline: float) -> None:
        """Check that the deadline comes before the end of any wait, idleness or patience."""
        books = self._books
        for client in books.waiting():
            if deadline > client.deadline_at:
                broken(9, f"no deadline is set for ticket {client.ticket}")
        for run in books.current.values():
            idle_until = books.idle_until(run)
            if idle_until is not None and deadline > idle_until:
                broken(8, f"run {run.id} of {run.service} is idle, and no deadline ends that")
            if run.stuck and run.stop_at is None:
                broken(9, f"run {run.id} of {run.service} is stuck, and nobody ends it")
            drains = run.draining and run.stop_at is None
            if drains and run.drains_for not in (None, *books.reserved):
                broken(15, f"{run.service} drains for {run.drains_for}, which needs no room")
        for service in books.seekers():
            patient_until = books.patient_until(service)
            if books.now < patient_until < deadline and not books.verifying(service):
                broken(9, f"{service} is patient, and no deadline ends that")

    def _check_waiting(self) -> None:
        """Nobody waits past his time, and nobody waits for nothing."""
        books = self._books
        services = dict.fromkeys(client.service for client in books.waiting())
        for client in books.waiting():
            if client.deadline_at <= books.now:
                broken(3, f"ticket {client.ticket} had no answer when its time was over")
        for service in services:
            run = books.current.get(service)
            if run is None and books.hopeless(service):
                broken(9, f"{service} is waited for, though no place could ever do for it")
            if (seeker := books.seeker(service)) is not None:
                self._check_waits_for_room(seeker)
            elif run is not None and run.awake and run.stop_at is None:
                self._check_waits_for_place(run)

    def _check_waits_for_room(self, service: ServiceId) -> None:
        books = self._books
        if service in books.reserved:
            leaving = any(run.leaves for run in books.current.values())
            if not leaving and not books.verifying():
                broken(9, f"{service} was promised room, yet waits for nobody to leave")
        elif service not in books.current and books.verifying(service):
            return
        elif service not in books.current and service in books.lost:
            broken(9, f"{service} is waited for, though what would run it is away")
        elif books.first_impatient() == service:
            if books.feasible(service):
                broken(13, f"{service} has waited long enough, and could have room")
        elif books.first_impatient() is None and books.feasible(service):
            broken(9, f"{service} waits for room, though there is some or could be")

    def _check_waits_for_place(self, run: Run) -> None:
        books = self._books
        limit = books.specs[run.service].concurrent_max
        host = books.host_of(run)
        if host is not None and not host.serving:
            return
        if run.draining and books.in_flight(run):
            return
        if limit is None or len(run.in_flight) < limit:
            broken(9, f"{run.service} is ready and has places free, yet some wait for it")
        if any(client.by_hand for client in books.waiting(run.service)):
            broken(9, f"{run.service} is ready, yet who started it by hand waits")

    def _check_picture(self, view: CoreView) -> None:
        """Check that what is shown of each device and service is what the World knows of it."""
        for device in view.devices:
            told = self._books.memory.told.get(device.id)
            free = None if told is None else told.free
            if device.measured_free != free:
                broken(17, f"{device.measured_free} of {device.id} is shown as free, not {free}")
        for one in view.services:
            for what, shown, known in self._known_of(one):
                if shown != known:
                    broken(17, f"{what} of {one.id} is shown as {shown}, and is {known}")

    def _known_of(self, one: ServiceView) -> list[tuple[str, object, object]]:
        books, service = self._books, one.id
        run = books.current.get(service)
        known: list[tuple[str, object, object]] = [
            ("the number of waiters", one.waiting, len(books.waiting(service))),
            ("the number of requests", one.in_flight, 0 if run is None else len(run.in_flight)),
            ("the loss", one.lost is not None, service in books.lost),
            ("the load time", one.experience.load_s, books.memory.mean_load_s(service)),
            ("the return gap", one.experience.return_gap_s, books.mean_gap_s(service)),
            ("the run", one.run, None if run is None else run.id),
            ("the state", one.state, one.state if one.state in _states(run, books) else None),
        ]
        if run is not None:
            known.append(("the claim", one.placement, run.claims))
            known.append(("the end of idleness", one.idle_until, books.idle_until(run)))
        if not books.is_shared(service):
            known.append(("the estimates", one.estimates, books.placements(service)))
        return known


def _states(run: Run | None, books: Books) -> tuple[State, ...]:
    """Return the states in which a service may be, by what became of its run."""
    if run is None:
        return _WITHOUT_RUN
    if run.stop_at is not None:
        return (State.STOPPING,)
    if run.starting:
        return (State.STARTING,)
    if run.waking:
        return (State.WAKING,)
    if run.falls_asleep:
        return (State.SLEEPING,)
    if run.asleep:
        return (State.ROUSING,) if run.service in books.reserved else (State.ASLEEP,)
    return (State.DRAINING,) if run.draining else (State.READY,)
