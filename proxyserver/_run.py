"""One run, from start to last breath: it is started, watched and ended here, and nowhere else."""

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

import attrs
import trio
from loguru import logger

from proxycore import (
    RAM,
    Cause,
    Event,
    FoundRun,
    Placement,
    RunAlive,
    RunId,
    RunReady,
    RunSlept,
    RunStuck,
    RunWoke,
)

from ._beside import beside
from ._held import held_asleep
from .milestones import Milestones
from .readiness import follow_log
from .runtime import (
    UNKNOWN,
    Call,
    Endpoint,
    ExitReport,
    LaunchSpec,
    Runtime,
    RuntimeFault,
    RuntimeUnreachable,
)
from .settings import Service
from .sleepers import Sleepers

REPORT_S = 10.0
"""How long the exit report of a run that is gone may take (the engine reads its log)."""
UNREACHABLE_RETRY_S = 1.0
HELD_S = 1.0
"""How long a line of the log may take to come that was written before the answer."""


class Connections(Protocol):
    """The connections to one run; what they carry is not our business."""

    def close(self) -> None:
        """Break them all: a server with open requests would wait for them before it stops."""

    def has_spoken(self) -> bool:
        """Tell whether anything of an answer came since this was asked last."""


class Judge(Protocol):
    """Who says whether a server answers; the module `readiness` is one."""

    async def wait_ready(
        self,
        launch: LaunchSpec,
        run: RunId,
        endpoint: Endpoint,
        runtime: Runtime,
        *,
        alive: Callable[[], None],
        answers: Callable[[], None] = lambda: None,
    ) -> None:
        """Return when the run answers yes; tell of signs of life, and of any answer, meanwhile."""

    async def wait_stuck(
        self, launch: LaunchSpec, endpoint: Endpoint, has_spoken: Callable[[], bool]
    ) -> Cause:
        """Return, with the reason, when a ready run has stopped answering.

        Args:
            launch: what is asked of it, and how often.
            endpoint: where it listens.
            has_spoken: tells whether it has answered others since this was asked last.
        """

    async def examine(self, launch: LaunchSpec) -> Cause | None:
        """Say what is wrong with the files of a run that has ended; None: nothing is."""

    async def ask(self, call: Call, endpoint: Endpoint) -> str | None:
        """Ask a run to do something; return why it did not, or None when it is done."""


C_co = TypeVar("C_co", bound=Connections, covariant=True)
C = TypeVar("C", bound=Connections)


@attrs.define(eq=False)
class Run(Generic[C]):
    """One life of one service, with the task that owns it."""

    service: Service
    id: RunId
    placement: Placement
    runtime: Runtime
    _connect: Callable[[Endpoint], C]
    _judge: Judge
    _sleepers: Sleepers = attrs.field(factory=lambda: Sleepers(None))
    connections: C | None = None
    """Set before the run can be ready."""
    report: ExitReport | None = None
    """How it ended, once it has."""
    over: trio.Event = attrs.field(factory=trio.Event)
    """Set once the core knows that it is gone: what lives in it is gone, too."""
    milestones: Milestones = attrs.field(factory=Milestones)
    """Of its start, if it was started by us in this life."""
    _endpoint: Endpoint | None = None
    _adopted: bool = False
    _asleep: bool = False
    _turned: trio.Event = attrs.field(factory=trio.Event)
    """Set when it shall sleep or wake."""
    _probing: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _grace_s: float = 0.0
    _living: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Cancelled when it shall stop, and when it has ended by itself."""
    _ending: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Cancelled when it shall end by force."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it listens; None: nowhere yet."""
        return self._endpoint

    async def forget(self) -> None:
        """Leave nothing behind.

        Raises:
            RuntimeFault: it cannot be done now.
        """
        self._sleepers.forget(self.id)
        await self.runtime.forget(self.service.spec.id, self.id)

    @property
    def found(self) -> FoundRun:
        """What the core is told of a run that was adopted."""
        return FoundRun(self.service.spec.id, self.id, self.placement, self._asleep)

    def adopt(self, endpoint: Endpoint) -> None:
        """Be a run that lives already, and is ready, or sleeps."""
        self._adopted = True
        self._asleep = self._sleepers.is_asleep(self.id) is True
        self._be_at(endpoint)

    def turn(self, *, asleep: bool) -> None:
        """Let `live` put the run to sleep, or wake it; it is ready, and done with the last turn."""
        self._asleep = asleep
        self._sleepers.turning(self.id)
        self._turned.set()
        self._probing.cancel()

    def stop(self, grace_s: float) -> None:
        """Let `live` end the run politely; it may not have begun yet."""
        self._grace_s = grace_s
        self._living.cancel()

    def kill(self) -> None:
        """Let `live`, which is ending the run, end it by force, or try so again."""
        self._ending.cancel()

    async def live(self, tell: Callable[[Event], None], lose: Callable[[str], None]) -> Cause:
        """Start the run, or take over a found one, and stay with it until nothing of it is left.

        Args:
            tell: is told that the run shows signs of life, is ready, or is stuck.
            lose: is told when the runtime cannot be reached, and why.

        Returns:
            Why it ended.
        """
        fault: RuntimeFault | None = None
        with self._living:
            if self._endpoint is None:
                try:
                    endpoint = await self.runtime.start(
                        self.service.launch, self.id, self.placement
                    )
                except RuntimeFault as caught:
                    fault = caught
                else:
                    self.milestones = Milestones(placed_at=trio.current_time())
                    self._be_at(endpoint)
            if self._endpoint is not None:
                await self._watch(self._endpoint, tell, lose)
        if fault is not None:
            if isinstance(fault, RuntimeUnreachable):
                lose(str(fault))
            self.report = ExitReport(fault.cause, None, False, ())
            return fault.cause
        if self.connections is not None:
            self.connections.close()
        if self.report is None:
            await self._end()
        if self._endpoint is not None:
            with trio.move_on_after(REPORT_S):
                await self._await_end(lose)
        if self.report is None:
            return Cause("stopped", "stopped")
        if self.report.cause.kind == UNKNOWN:
            # A server that ends in a hurry may lose the lines that tell why.
            found = await self._judge.examine(self.service.launch)
            if found is not None:
                self.report = attrs.evolve(self.report, cause=found)
        return self.report.cause

    def _be_at(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.connections = self._connect(endpoint)

    async def _watch(
        self, endpoint: Endpoint, tell: Callable[[Event], None], lose: Callable[[str], None]
    ) -> None:
        """Tell when the run is ready and when it stops answering; return when it has ended."""
        service, launch = self.service.spec.id, self.service.launch
        assert self.connections is not None, "it is somewhere"
        spoke = self.connections.has_spoken
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_end, lose)
            if not self._adopted:
                await self._wait_ready(endpoint, tell)
                tell(RunReady(service, self.id))
            while True:
                # Who sleeps answers no probe.
                with trio.CancelScope() as self._probing:
                    if not self._asleep and not self._turned.is_set():
                        cause = await self._judge.wait_stuck(launch, endpoint, spoke)
                        tell(RunStuck(service, self.id, cause))
                await self._turned.wait()
                self._turned = trio.Event()
                tell(await self._turn_now(endpoint, tell))

    async def _wait_ready(self, endpoint: Endpoint, tell: Callable[[Event], None]) -> None:
        await self._judge.wait_ready(
            self.service.launch,
            self.id,
            endpoint,
            self.runtime,
            alive=lambda: tell(RunAlive(self.service.spec.id, self.id)),
            answers=self._note_answer,
        )

    def _note_answer(self) -> None:
        if self.milestones.answered_at is None:
            self.milestones = attrs.evolve(self.milestones, answered_at=trio.current_time())

    async def _turn_now(self, endpoint: Endpoint, tell: Callable[[Event], None]) -> Event:
        """Put the run to sleep, or wake it; return what the core shall be told of that."""
        service, launch = self.service.spec.id, self.service.launch
        calls = launch.sleep if self._asleep else launch.wake
        assert calls, f"{service} cannot sleep"

        def alive() -> None:
            tell(RunAlive(service, self.id))

        async def ask_all() -> str | None:
            for call in calls:
                if (fault := await self._judge.ask(call, endpoint)) is not None:
                    return fault
            return None

        # To wake may take as long as a load.
        follow = partial(follow_log, service, self.id, self.runtime, alive=alive)
        fault = await beside(follow, ask_all)
        if fault is not None:
            kind = "sleep_failed" if self._asleep else "wake_failed"
            return RunStuck(service, self.id, Cause(kind, fault))
        if self._asleep:
            self._sleepers.asleep(self.id)
            return RunSlept(service, self.id, await self._held())
        await self._wait_ready(endpoint, tell)
        self._sleepers.forget(self.id)
        return RunWoke(service, self.id)

    async def _held(self) -> int | None:
        """Return what the run says that it holds of each of its GPUs asleep; None: nothing."""
        launch = self.service.launch
        if launch.asleep_line is None:
            return None
        claims = [amount for device, amount in self.placement.amounts if device != RAM]
        with trio.move_on_after(HELD_S):
            while True:
                lines = self.runtime.log_lines(launch.service, self.id, tail=200, follow=False)
                try:
                    said = [line async for line in lines]
                except RuntimeFault:
                    return None
                held = held_asleep(launch.asleep_line, said, claims)
                if held is not None:
                    return held
                await trio.sleep(HELD_S / 10)
        return None

    async def _await_end(self, lose: Callable[[str], None]) -> None:
        """Wait until the run has ended, and keep the report; a lost runtime is waited for."""
        while self.report is None:
            try:
                self.report = await self.runtime.wait_gone(self.service.launch, self.id)
            except RuntimeUnreachable as fault:
                lose(str(fault))
                await trio.sleep(UNREACHABLE_RETRY_S)
            except RuntimeFault as fault:
                self.report = ExitReport(fault.cause, None, False, ())
        self._living.cancel()

    async def _end(self) -> None:
        """End the run politely; by force when asked again, or when it never quite began."""
        service = self.service.spec.id
        force = self._endpoint is None
        while True:
            with trio.CancelScope() as self._ending:
                try:
                    if force:
                        await self.runtime.kill(service, self.id)
                    else:
                        await self.runtime.stop(service, self.id, self._grace_s)
                    return
                except RuntimeFault as fault:
                    logger.warning("{} run {} does not end: {}", service, self.id, fault)
                    await trio.sleep_forever()  # until `kill`, which the core will ask for
            force = True
