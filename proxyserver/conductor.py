"""The conductor does what the core decides: it owns the core, and one task for every run."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Generic, assert_never

import trio

from proxycore import (
    Admit,
    Changed,
    ConfigReplaced,
    Core,
    CoreConfig,
    CoreView,
    Effect,
    Event,
    EvictionPolicy,
    ExperienceFound,
    Explained,
    Fact,
    KillRun,
    MeasureMemory,
    MemoryMeasured,
    MemoryUnknown,
    Placement,
    Refuse,
    RequestArrived,
    RequestFinished,
    RestartRequested,
    RunGone,
    RunId,
    RunsFound,
    ServiceId,
    ShutdownRequested,
    SleepRequested,
    SleepRun,
    Started,
    StartRequested,
    StartRun,
    State,
    StopRequested,
    StopRun,
    Tick,
    TicketId,
    Waiting,
    WakeRun,
    journal,
)

from . import readiness
from ._adoption import worth_keeping
from ._answer import Answer, Meanwhile
from ._beside import beside
from ._model_run import ModelRun
from ._reach import Reach
from ._run import C, Judge, Run
from ._runs import AnyRun, Runs
from ._services import Services
from ._slot import Place
from ._slot import RuntimeState as RuntimeState
from ._slot import Slot as Slot
from ._ticker import Ticker
from .decisions import Decisions
from .image_gate import ImageGate
from .journal_file import JournalFile
from .milestones import Milestones
from .refused import Refused
from .remedies import Remedies
from .runtime import Endpoint, ExitReport, FoundProcess, RunFacts, Runtime, RuntimeFault
from .settings import Service
from .sleepers import Sleepers


class Conductor(Generic[C]):
    """Tells the core what happens, and does what it says.

    From an event to its last effect there is no checkpoint: what the core said is done before
    anything else can happen.

    Args:
        config: what the core decides by.
        services: how to start each service of `config`.  It is kept as the configuration in force
            says, with those that are out of it and still leave, so that others may go by it, too.
        runtimes: what runs them, by the name that services use; `replace` adds to them.
        connect: makes the connections to a run.
        tell: is told every fact (changes, refusals, explanations); it must return at once.
        journal_file: where events are written down; None: nowhere.
        policy: who values what could be stopped; None: the default.
        decisions: where what the core decides is remembered, with why.
        measure: is told that the memory of a run that is gone is awaited; it returns at once, and
            `note` is told what was measured.
        sleepers: remembers who sleeps; None: nobody does.
        gate: who sees to it that an image is here before it is wanted; None: nobody.
        judge: who says whether a server answers.
    """

    def __init__(
        self,
        config: CoreConfig,
        services: dict[ServiceId, Service],
        runtimes: dict[str, Runtime],
        *,
        connect: Callable[[Endpoint], C],
        tell: Callable[[Fact], None],
        journal_file: JournalFile | None = None,
        policy: EvictionPolicy | None = None,
        decisions: Decisions | None = None,
        measure: Callable[[], None] = lambda: None,
        sleepers: Sleepers | None = None,
        gate: ImageGate | None = None,
        judge: Judge = readiness,
    ) -> None:
        self._core = Core(config, now=trio.current_time(), policy=policy)
        self._remedies = Remedies(services, lambda: self._core)
        self._decisions = decisions or Decisions(self._core.policy.name)
        self._present = Services(services)
        self._services = services
        self._runtimes = runtimes
        self._connect = connect
        self._gate = gate
        self._judge = judge
        self._tell = tell
        self._measure = measure
        self._sleepers = sleepers or Sleepers(None)
        self._journal = journal_file
        self._runs: Runs[C] = Runs(services, runtimes)
        self._answers: dict[TicketId, Answer[C]] = {}
        self._reach = Reach(runtimes, services, self._handle, self._is_known)
        self._ticket = TicketId(0)
        self._moved = trio.lowlevel.ParkingLot()
        self._ticker = Ticker(self._core.deadline, partial(self._handle, Tick()))
        self._nursery: trio.Nursery | None = None

    # What callers see

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Conduct until cancelled; report as started once earlier runs are adopted.

        Cancelling leaves every run alone, to be adopted by the next life: `shutdown` ends them.
        """
        async with trio.open_nursery() as self._nursery:
            if self._journal is not None:
                self._journal.begin(journal.head(self._core))
            await self._adopt(self._nursery)
            self._nursery.start_soon(self._reach.watch, tuple(self._runtimes))
            self._nursery.start_soon(self._ticker.run)
            task_status.started()

    def slot(
        self,
        service: ServiceId,
        *,
        wait_s: float | None = None,
        request: str | None = None,
        meanwhile: Meanwhile | None = None,
    ) -> Place[C]:
        """Wait for a place at a run of the service, and hold it inside the block.

        Leaving the block, or being cancelled in or before it, finishes the request `request`.
        What is to be done `meanwhile` is begun if there is a wait, and cancelled when it is over.

        Raises:
            Refused: there is no place, and why.
        """

        async def take() -> Slot[C]:
            ticket, deadline_at = await self._numbered(service, wait_s, meanwhile, by_hand=False)
            answer = self._answers[ticket] = Answer(request=request)
            self._handle(RequestArrived(ticket, service, deadline_at))
            try:  # Most have a place at once.
                run = answer.run or await answer.wait(meanwhile)
            except BaseException:
                self._leave(ticket)
                raise
            assert run.connections is not None
            return Slot(service, run.id, run.connections, ticket)

        return Place(take, self._leave)

    def _leave(self, ticket: TicketId) -> None:
        answer = self._answers.pop(ticket)
        if answer.refused is None:
            if answer.run is None:
                self._decisions.left(ticket, trio.current_time())
            self._handle(RequestFinished(ticket))

    async def start(self, service: ServiceId, *, restart: bool = False) -> RunId:
        """Start the service by hand; return its run when it is ready.

        The start goes on when the caller is cancelled; of its image, only the pull does.

        Raises:
            Refused: it cannot start, and why.
        """
        ticket, deadline_at = await self._numbered(service, None, None, by_hand=True)
        answer = self._answers[ticket] = Answer()
        request = RestartRequested if restart else StartRequested
        self._handle(request(ticket, service, deadline_at))
        try:
            return (await answer.wait()).id
        finally:
            del self._answers[ticket]

    async def stop(self, service: ServiceId, *, force: bool = False) -> None:
        """Stop the service by hand; return when what ran is gone.

        Args:
            service: which.
            force: cut running requests, instead of letting them finish for up to `drain_s`.
        """
        if service not in self._services:
            return  # It is gone for good.
        run = self.view().service(service).run
        if self._gate is not None:
            self._gate.stop(service)
        self._handle(StopRequested(service, force))
        await self._wait_gone({run})

    async def sleep(self, service: ServiceId) -> None:
        """Put the service to sleep by hand, once it has served; return when that is over.

        Raises:
            LocalError: it cannot sleep.
            Refused: it is out of the configuration.
        """
        self._present.check(service)
        self._handle(SleepRequested(service))
        falls = (State.DRAINING, State.SLEEPING)
        while service in self._services and self.view().service(service).state in falls:
            await self._moved.park()

    async def shutdown(self, within_s: float) -> None:
        """Refuse everything new, stop everything; requests may finish within a time in seconds.

        Return when nothing is left of what ran.
        """
        self._handle(ShutdownRequested(trio.current_time() + within_s))
        while self._runs.living:
            await self._moved.park()

    async def replace(
        self,
        config: CoreConfig,
        services: Mapping[ServiceId, Service],
        runtimes: Mapping[str, Runtime],
    ) -> None:
        """Go by another configuration; its `runtimes` are those that were not there before."""
        for name, runtime in runtimes.items():
            self._runtimes[name] = runtime
            await self._reach.add(name)
        self._present.replace(services)
        self._handle(ConfigReplaced(config))
        self._reach.tell_again()

    def value_by(self, policy: EvictionPolicy) -> None:
        """Have another policy value what could be stopped, from the next decision on."""
        # It goes on from its books, as from a snapshot; the journal says so by a new head.
        self._core = Core.resume(self._core.config, self._core.books, policy=policy)
        self._decisions.policy = policy.name
        if self._journal is not None:
            self._journal.add(journal.head(self._core))

    def note(self, event: MemoryMeasured | MemoryUnknown | ExperienceFound) -> None:
        """Take note of what was measured, or cannot be any more, or was learnt in earlier lives."""
        self._handle(event)

    def view(self) -> CoreView:
        """Return the core's picture; points in time are on `trio.current_time`."""
        return self._core.view()

    def runtimes(self) -> Mapping[str, RuntimeState]:
        """Tell of each runtime whether it can be reached."""
        return self._reach.states

    def report(self, service: ServiceId) -> ExitReport | None:
        """Return how the last run of the service ended; None: none has ended."""
        return self._runs.reports.get(service)

    def progress(self, service: ServiceId) -> float | None:
        """Tell how much of a model's load is done, from 0 to 1; None: nobody knows."""
        return self._runs.progress(service)

    def milestones(self, run: RunId) -> Milestones:
        """Tell how far a living run has come on its way to ready."""
        return self._runs.milestones(run)

    async def facts(self, service: ServiceId) -> RunFacts | None:
        """Describe the living run of a service; None: there is none, or it cannot be asked."""
        return await self._runs.facts(service)

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        """Ask the present run of a service for its metrics; return status and body.

        Raises:
            NoAnswer: it does not answer.
        """
        return await self._runs.metrics(service, authorization)

    def log_lines(
        self, service: ServiceId, run: RunId | None = None, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield the log of a run; by default of the present one, or of the last."""
        return self._runs.log_lines(service, run, tail=tail, follow=follow)

    # Events in, effects out

    def _handle(self, event: Event) -> None:
        now = trio.current_time()
        if self._journal is not None:
            self._journal.write(journal.entry(now, event), lambda: journal.head(self._core))
        effects = self._core.handle(event, now)
        if effects:  # The end of a request has none, mostly.
            self._follow(effects, now)
        if self._present.leaving:
            for service in self._present.forget_gone(one.id for one in self.view().services):
                self._runs.forget(service)
        self._ticker.note()

    def _follow(self, effects: Sequence[Effect], now: float) -> None:
        if self._journal is not None and (line := journal.ordered(effects)) is not None:
            self._journal.add(line)
        effects = tuple(map(self._remedies.with_words, effects))
        self._decisions.note(effects, now, self._request_of)
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Admit() | Started():  # The first to be asked for, because most are.
                if effect.ticket in self._answers:
                    self._answers[effect.ticket].say(run=self._runs.living[effect.run])
            case StartRun():
                self._runs.register(run := self._new_run(effect))
                assert self._nursery is not None
                self._nursery.start_soon(self._live, run)
            case StopRun():
                self._runs.living[effect.run].stop(effect.grace_s)
            case MeasureMemory():
                self._measure()
            case KillRun():
                self._runs.living[effect.run].kill()
            case SleepRun() | WakeRun():
                run = self._runs.living[effect.run]
                assert isinstance(run, Run), "a model does not sleep"
                run.turn(asleep=isinstance(effect, SleepRun))
            case Refuse():
                self._tell(effect)
                if (answer := self._answers.get(effect.ticket)) is not None:
                    told = (effect.reason, effect.message, effect.retry_after_s)
                    answer.say(refused=Refused(effect.service, *told))
            case Changed():
                self._tell(effect)
                self._moved.unpark_all()
            case Waiting() | Explained():
                self._tell(effect)
            case _:
                assert_never(effect)

    def _request_of(self, ticket: TicketId) -> str | None:
        return self._answers[ticket].request if ticket in self._answers else None

    async def _numbered(
        self, service: ServiceId, wait_s: float | None, meanwhile: Meanwhile | None, by_hand: bool
    ) -> tuple[TicketId, float]:
        """Return a ticket and its deadline, once the image of the service is here.

        Raises:
            Refused: it does not come.
        """
        self._present.check(service)
        limit_s = self._services[service].wait_s if wait_s is None else wait_s
        until_at = trio.current_time() + limit_s
        if self._gate is not None and not self._runs.lives(service):
            at = inf if by_hand else until_at
            await beside(meanwhile, partial(self._gate.wait, service, at, by_hand=by_hand))
            self._present.check(service)
        self._ticket = TicketId(self._ticket + 1)
        return self._ticket, trio.current_time() + limit_s if by_hand else until_at

    async def _wait_gone(self, runs: set[RunId | None]) -> None:
        while any(service.run in runs - {None} for service in self.view().services):
            await self._moved.park()

    # One run

    def _new_run(self, effect: StartRun) -> AnyRun[C]:
        service = self._services[effect.service]
        if effect.host is not None:
            return ModelRun.inside(self._runs.living[effect.host], service, effect.run)
        return self._run_of(service, effect.run, effect.placement)

    def _run_of(self, service: Service, run: RunId, where: Placement) -> Run[C]:
        runtime = self._runtimes[service.runtime]
        return Run(service, run, where, runtime, self._connect, self._judge, self._sleepers)

    async def _live(self, run: AnyRun[C]) -> None:
        """Let a run live, and tell that it is gone."""
        service = run.service.spec.id
        cause = await run.live(self._handle, lambda why: self._reach.lose(run.service.runtime, why))
        if run.report is not None:
            self._runs.reports[service] = run.report
        # Known until the core knows: a kill that came due meanwhile may be asked for just now.
        if cause is not None:
            cause = self._remedies.of_failure(service, cause)
            self._handle(RunGone(service, run.id, cause))
        if isinstance(run, Run):
            run.over.set()
        with suppress(RuntimeFault):
            await run.forget()
        del self._runs.living[run.id]
        self._moved.unpark_all()

    # What an earlier life left, and what runs things

    async def _adopt(self, nursery: trio.Nursery) -> None:
        """Take over what an earlier life left and is still good; remove the rest.

        Only then go on: what is left over holds memory that the core does not know of.
        """
        devices = {device.id for device in self._core.config.devices}
        kept: list[Run[C]] = []
        run_max = RunId(0)
        self._sleepers.load()
        async with trio.open_nursery() as removing:
            for name, runtime in self._runtimes.items():
                found = await self._reach.begin(name, nursery)
                run_max = max([run_max, *(one.run for one in found)])
                mine = {key: it for key, it in self._services.items() if it.runtime == name}
                for service, one, endpoint in await worth_keeping(
                    found, mine, runtime, self._judge, devices, self._sleepers, removing
                ):
                    run = self._run_of(service, one.run, one.placement)
                    run.adopt(endpoint)
                    self._runs.register(run)
                    kept.append(run)
        self._sleepers.keep_only([run.id for run in kept])
        self._handle(RunsFound(tuple(run.found for run in kept), run_max))
        for run in kept:
            nursery.start_soon(self._live, run)

    def _is_known(self, runtime: Runtime, found: FoundProcess) -> bool:
        # Numbers alone do not tell: a life that could not look begins to count at 1 again.
        run = self._runs.living.get(found.run)
        return run is not None and (run.runtime, run.service.spec.id) == (runtime, found.service)
