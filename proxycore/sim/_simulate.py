"""The real core on a simulated machine that does what it is told: fast enough for weeks."""

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Protocol, TypeAlias, assert_never

import attrs

from .. import effects as fx
from .. import events as ev
from .._core import Core
from .._ids import RunId, ServiceId, TicketId
from ..config import CoreConfig
from ..policy import EvictionPolicy
from ._checked import CheckedCore
from .report import Report, Tally
from .traffic import Request, Session, Traffic

FOR_EVER_S = 1e9
"""Nobody gives up and no queue is ever full: who is refused would count as served at once."""
QUEUE_MAX = 10**9

PROGRESS_STEPS = 200

GONE = ev.Cause("exit", "it ended")


@attrs.frozen
class Machine:
    """How the simulated machine works."""

    unload_s: float = 2.0
    """From the order to stop a run to its end, and from that to sleep until it is asleep."""
    loads_at_once: int = 1
    """Loads read the same disk: the next begins when one is over."""
    instant: bool = False
    """Nothing takes time, so that only the choice of victims counts: pure caching."""


class Decider(Protocol):
    """What is driven: the core, or the core with somebody who watches it."""

    def handle(self, event: ev.Event, now: float) -> tuple[fx.Effect, ...]: ...

    def deadline(self) -> float | None: ...


_Due: TypeAlias = tuple[float, int, ev.Event | Session]


def simulate(
    traffic: Traffic,
    policy: EvictionPolicy | None = None,
    *,
    machine: Machine = Machine(),
    checked: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Let a core serve all requests of a trace, and all sessions; return what that took.

    Args:
        traffic: the services and their requests.
        policy: who values what could be stopped; None: the default.
        machine: how long things take.
        checked: whether a World checks every promise at every step, which is slow.
        progress: is told now and then which share of the requests has come, and 1.0 at the end.

    Raises:
        Broken: a promise was broken, and `checked`.
    """
    return _Simulation(traffic, policy, machine, checked=checked).run(progress)


class _Simulation:
    def __init__(
        self,
        traffic: Traffic,
        policy: EvictionPolicy | None,
        machine: Machine,
        *,
        checked: bool,
    ) -> None:
        self._config = _patient(traffic.config, linger=not machine.instant)
        self._traffic = traffic
        self._machine = machine
        begins = [session.begins_at for session in traffic.sessions]
        begins += [request.at for request in traffic.requests[:1]]
        self.now = min(begins, default=0.0)
        make = CheckedCore if checked else Core
        self._core: Decider = make(self._config, now=self.now, policy=policy)
        self._load_s = {spec.id: spec.load_s for spec in self._config.services}
        self._wake_s = {spec.id: spec.wake_s for spec in self._config.services}
        self._waking: dict[RunId, None] = {}
        self._due: list[_Due] = []
        self._order = count()
        self._ticket_max = TicketId(0)
        self._service_s: dict[TicketId, float] = {}
        self._asks: dict[TicketId, Session] = {}
        """Which session waits for the answer."""
        self._loads: dict[RunId, ServiceId] = {}
        """Told to start and not ready, in that order: the first of them are loading."""
        self._loading: dict[RunId, None] = {}
        self._tally = Tally(self._config, self.now)

    def run(self, progress: Callable[[float], None] | None) -> Report:
        requests = self._traffic.requests
        told_every = max(1, len(requests) // PROGRESS_STEPS)
        for session in self._traffic.sessions:
            self._after(session.begins_at - self.now, session)
        for number, request in enumerate(requests):
            if progress is not None and number % told_every == 0:
                progress(number / len(requests))
            self._let_happen(request.at)
            self.now = request.at
            self._arrive(request)
        self._let_happen(None)
        if progress is not None:
            progress(1.0)
        return self._tally.report(self.now)

    def _let_happen(self, until: float | None) -> None:
        """Let everything happen that is due by then, or all that anybody still waits for."""
        due = self._due
        while True:
            deadline = self._core.deadline()
            if due and (deadline is None or due[0][0] <= deadline):
                at, _, happening = due[0]
                if until is not None and at > until:
                    return
                heapq.heappop(due)
            elif deadline is not None and (deadline <= until if until is not None else due):
                at, happening = deadline, ev.Tick()
            else:
                return
            self.now = at
            if isinstance(happening, Session):
                self._ask(happening)
            else:
                self._tell(happening)

    def _ask(self, session: Session) -> None:
        request = session.next_request(self.now)
        if request is not None:
            self._asks[TicketId(self._ticket_max + 1)] = session
            self._arrive(request)

    def _arrive(self, request: Request) -> None:
        ticket = self._ticket_max = TicketId(self._ticket_max + 1)
        self._service_s[ticket] = 0.0 if self._machine.instant else request.service_s
        self._tally.arrived(ticket, request.service, self.now)
        self._tell(ev.RequestArrived(ticket, request.service, self.now + FOR_EVER_S))

    def _tell(self, event: ev.Event) -> None:
        match event:
            case ev.RunReady():
                if event.run not in self._loads:
                    return  # It was stopped before its load was over.
                self._tally.ready(event.service, self.now)
                self._loaded(event.run)
            case ev.RunWoke():
                if event.run not in self._waking:
                    return  # As above.
                del self._waking[event.run]
                self._tally.ready(event.service, self.now)
            case ev.RequestFinished():
                self._tally.finished(event.ticket, self.now)
                self._answered(event.ticket)
            case _:
                pass
        self._obey(self._core.handle(event, self.now))

    def _obey(self, effects: Iterable[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Admit():
                    self._tally.admitted(effect.ticket, self.now)
                    service_s = self._service_s.pop(effect.ticket)
                    self._after(service_s, ev.RequestFinished(effect.ticket))
                case fx.StartRun():
                    self._tally.started(effect.service, effect.placement)
                    self._loads[effect.run] = effect.service
                    self._load_next()
                case fx.StopRun():
                    self._tally.stopped(effect.service, self.now)
                    self._loaded(effect.run)
                    self._waking.pop(effect.run, None)
                    unload_s = 0.0 if self._machine.instant else self._machine.unload_s
                    self._after(unload_s, ev.RunGone(effect.service, effect.run, GONE))
                case fx.SleepRun():
                    self._tally.stopped(effect.service, self.now)
                    unload_s = 0.0 if self._machine.instant else self._machine.unload_s
                    self._after(unload_s, ev.RunSlept(effect.service, effect.run))
                case fx.WakeRun():
                    self._waking[effect.run] = None
                    wake_s = 0.0 if self._machine.instant else self._wake_s[effect.service]
                    self._after(wake_s, ev.RunWoke(effect.service, effect.run))
                case fx.Refuse():
                    self._tally.refused(effect.ticket, self.now)
                    self._answered(effect.ticket)
                case fx.MeasureMemory():
                    pass  # It has no gauge.
                case fx.KillRun() | fx.Started() | fx.Changed() | fx.Waiting() | fx.Explained():
                    pass  # A run ends when it is told to, so a kill comes too late.
                case _:
                    assert_never(effect)

    def _answered(self, ticket: TicketId) -> None:
        session = self._asks.pop(ticket, None)
        if session is not None:
            self._after(session.think_s, session)

    def _load_next(self) -> None:
        for run, service in self._loads.items():
            if not self._machine.instant and len(self._loading) >= self._machine.loads_at_once:
                break
            if run not in self._loading:
                self._loading[run] = None
                load_s = 0.0 if self._machine.instant else self._load_s[service]
                self._after(load_s, ev.RunReady(service, run))

    def _loaded(self, run: RunId) -> None:
        """A load is over: it succeeded, or it shall not."""
        if self._loads.pop(run, None) is not None:
            self._loading.pop(run, None)
            self._load_next()

    def _after(self, seconds: float, happening: ev.Event | Session) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), happening))


def _patient(config: CoreConfig, *, linger: bool) -> CoreConfig:
    services = tuple(
        attrs.evolve(spec, queue_max=QUEUE_MAX, start_s=FOR_EVER_S, start_max_s=FOR_EVER_S)
        for spec in config.services
    )
    return attrs.evolve(config, services=services, linger=linger and config.linger)
