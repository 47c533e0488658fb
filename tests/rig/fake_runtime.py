"""A runtime of scripted runs, for tests on Trio's mock clock: no sockets, threads or processes.

It keeps the same contract as the real ones (`proxyserver.contract` is run on it too).

    machine = FakeMachine({ServiceId("coder"): Script(ready_s=12)})
    runtime = FakeRuntime(machine)

A script says what every run of its service does; it may be exchanged at any time for later runs.
`machine` is the world: it outlives a runtime, as containers outlive the daemon.
"""

import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

import attrs
import trio

from proxycore import Cause, Placement, RunId, ServiceId
from proxyserver.runtime import (
    Endpoint,
    ExitReport,
    FoundProcess,
    LaunchSpec,
    RunFacts,
    RuntimeFault,
    RuntimeUnreachable,
    classify,
)

PORT_MIN = 30_000
PID_MIN = 1 << 30
"""No process of this machine has such a number."""
LOG_TAIL_LINES = 200


@attrs.frozen
class Script:
    """What a run does.  Times count from the moment that it was started."""

    start_s: float = 0.0
    """How long `start` itself takes: an engine at work."""
    start_fault: Cause | None = None
    """`start` fails with this, after `start_s`."""
    ready_s: float = 0.0
    """When it begins to answer."""
    exit_s: float = math.inf
    """When it ends by itself."""
    exit_code: int = 1
    oom_killed: bool = False
    log: tuple[tuple[float, str], ...] = ()
    """Lines of its log and when they come."""
    term_s: float = 0.0
    """How long it takes to end when asked politely."""
    ignores_term: bool = False
    forget_s: float = 0.0
    """How long what is left of it takes to remove."""
    memory: int | None = 1024 * 1024


@attrs.define
class _Life:
    """One run in the fake world; all follows from points in time, so there is no task."""

    script: Script
    spec: LaunchSpec
    placement: Placement
    endpoint: Endpoint
    started_at: float
    ends_at: float
    exit_code: int
    asked: bool = False
    said: list[tuple[float, str]] = attrs.Factory(list)
    moved: trio.Event = attrs.Factory(trio.Event)

    @property
    def alive(self) -> bool:
        return trio.current_time() < self.ends_at

    def end_at(self, time_at: float, exit_code: int) -> None:
        if time_at < self.ends_at:
            self.ends_at, self.exit_code = time_at, exit_code
            self.wake()

    def say(self, line: str) -> None:
        self.said.append((trio.current_time(), line))
        self.wake()

    def wake(self) -> None:
        self.moved.set()
        self.moved = trio.Event()

    def lines(self) -> list[str]:
        until = min(trio.current_time(), self.ends_at)
        planned = [(self.started_at + after_s, line) for after_s, line in self.script.log]
        return [line for at, line in sorted([*planned, *self.said]) if at <= until]

    async def wait_gone(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.alive:
            with trio.move_on_at(self.ends_at):
                await self.moved.wait()


@attrs.define
class FakeMachine:
    """The world behind `FakeRuntime`, with levers for the test."""

    scripts: dict[ServiceId, Script] = attrs.Factory(dict)
    lost: str = ""
    """Why the runtime cannot be reached; empty: it can."""
    calls: list[tuple[str, ServiceId, RunId]] = attrs.Factory(list)
    """Every `start`, `stop`, `kill` and `forget`, in order."""
    lives: dict[tuple[ServiceId, RunId], _Life] = attrs.Factory(dict)
    last_logs: dict[ServiceId, list[str]] = attrs.Factory(dict)
    changed: trio.Event = attrs.Factory(trio.Event)

    def lose(self, why: str = "the engine went away") -> None:
        """Put the runtime out of reach; what runs goes on."""
        self._reach(why)

    def restore(self) -> None:
        self._reach("")

    def _reach(self, lost: str) -> None:
        self.lost = lost
        self.changed.set()
        self.changed = trio.Event()

    def end(self, service: ServiceId, exit_code: int = -11, line: str = "") -> None:
        """End the living runs of a service now, as if by themselves."""
        for life in self._living(service):
            if line:
                life.say(line)
            life.end_at(trio.current_time(), exit_code)

    def say(self, service: ServiceId, line: str) -> None:
        """Let the living runs of a service log a line."""
        for life in self._living(service):
            life.say(line)

    def _living(self, service: ServiceId) -> list[_Life]:
        return [life for (owner, _), life in self.lives.items() if owner == service and life.alive]

    def at(self, endpoint: Endpoint) -> ServiceId | None:
        """Return the service that lives at the endpoint."""
        for (service, _), life in self.lives.items():
            if life.alive and life.endpoint == endpoint:
                return service
        return None

    def answers(self, endpoint: Endpoint) -> bool:
        """Tell whether a ready run listens there: a fake of the readiness probe."""
        return any(
            life.alive
            and life.endpoint == endpoint
            and trio.current_time() >= life.started_at + life.script.ready_s
            for life in self.lives.values()
        )


class FakeRuntime:
    """Plays the scripts of a machine.  See `Runtime` for the contract."""

    name = "fake"

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine

    async def check(self) -> str:
        await self._reach()
        return "scripted runs"

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        while True:
            changed(not self.machine.lost, self.machine.lost or "scripted runs")
            await self.machine.changed.wait()

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        self.machine.calls.append(("start", spec.service, run))
        await self._reach()
        script = self.machine.scripts.get(spec.service, Script())
        await trio.sleep(script.start_s)
        if script.start_fault is not None:
            raise RuntimeFault(script.start_fault)
        now = trio.current_time()
        self.machine.lives[spec.service, run] = life = _Life(
            script=script,
            spec=spec,
            placement=placement,
            endpoint=Endpoint("127.0.0.1", PORT_MIN + run),
            started_at=now,
            ends_at=now + script.exit_s,
            exit_code=script.exit_code,
        )
        return life.endpoint

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        await self._reach()
        life = self._life(service, run)
        return life is not None and life.alive and life.endpoint == endpoint

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        self.machine.calls.append(("stop", service, run))
        await self._reach()
        if (life := self._life(service, run)) is None:
            return
        life.asked = True
        if not life.script.ignores_term:
            life.end_at(trio.current_time() + life.script.term_s, 0)
        with trio.move_on_after(grace_s):
            await life.wait_gone()
        life.end_at(trio.current_time(), -9)

    async def kill(self, service: ServiceId, run: RunId) -> None:
        self.machine.calls.append(("kill", service, run))
        await self._reach()
        if (life := self._life(service, run)) is not None:
            life.asked = True
            life.end_at(trio.current_time(), -9)

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        life = self._life(spec.service, run)
        if life is None:
            await trio.lowlevel.checkpoint()
            return ExitReport(Cause("removed", "there is no such run"), None, False, ())
        await life.wait_gone()
        tail = tuple(life.lines()[-LOG_TAIL_LINES:])
        if life.asked:
            cause = Cause("stopped", "stopped because it was asked to")
        else:
            cause = classify(life.exit_code, life.script.oom_killed, tail, spec.failures)
        return ExitReport(cause, life.exit_code, life.script.oom_killed, tail)

    async def forget(self, service: ServiceId, run: RunId) -> None:
        self.machine.calls.append(("forget", service, run))
        await self._reach()
        if (life := self._life(service, run)) is not None:
            await trio.sleep(life.script.forget_s)
            del self.machine.lives[service, run]
            self.machine.last_logs[service] = life.lines()

    async def found(self) -> Sequence[FoundProcess]:
        await self._reach()
        return [
            FoundProcess(
                service=service,
                run=run,
                fingerprint=life.spec.fingerprint,
                placement=life.placement,
                alive=life.alive,
                endpoint=life.endpoint if life.alive else None,
                started_at=life.started_at,
            )
            for (service, run), life in self.machine.lives.items()
        ]

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        await self._reach()
        life = self._life(service, run)
        if life is None or not life.alive:
            return None
        return RunFacts(
            name=f"fake {service} {run}",
            image=None,
            pid=PID_MIN + run,
            ports=(f"{life.endpoint.host}:{life.endpoint.port}",),
            started_at=life.started_at,
            memory=life.script.memory,
        )

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        await self._reach()
        living = [run for (_, run), life in self.machine.lives.items() if life.alive]
        return {PID_MIN + run: run for run in living if PID_MIN + run in pids}

    async def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        life = self._life(service, run)
        lines = self.machine.last_logs.get(service, []) if life is None else life.lines()
        told = len(lines)
        for line in lines[max(0, told - tail) :]:
            yield line
        while follow and life is not None and life.alive:
            # The next moment at which the log can have grown.
            planned = [life.started_at + after_s for after_s, _ in life.script.log]
            later = [at for at in planned if at > trio.current_time()]
            moved = life.moved
            with trio.move_on_at(min([life.ends_at, *later])):
                await moved.wait()
            for line in life.lines()[told:]:
                told += 1
                yield line

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.machine.lost:
            raise RuntimeUnreachable(Cause("engine_unreachable", self.machine.lost))

    def _life(self, service: ServiceId, run: RunId) -> _Life | None:
        return self.machine.lives.get((service, run))
