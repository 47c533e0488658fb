"""A conductor over a scripted machine, and everything that it tells."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from proxycore import (
    Cause,
    Changed,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Fact,
    Placement,
    RunId,
    ServiceId,
    ServiceSpec,
    State,
)
from proxycore.config import GIB
from proxyserver.conductor import Conductor
from proxyserver.decisions import Decisions
from proxyserver.image_gate import ImageGate
from proxyserver.journal_file import JournalFile
from proxyserver.runtime import Call, Endpoint, LaunchSpec, ProcessSpec, Runtime
from proxyserver.settings import Service
from tests.rig.fake_runtime import FakeMachine, FakeRuntime, Script

CHAT = ServiceId("chat")
CODER = ServiceId("coder")
GPU = DeviceId("gpu0")
# Two of these do not fit.
DEVICES = (DeviceSpec(GPU, capacity=24 * GIB, headroom=0),)
CLAIMS = {CHAT: 14 * GIB, CODER: 16 * GIB}


@attrs.define
class FakeConnections:
    """Connections that only know whether they were broken."""

    endpoint: Endpoint
    closed_at: float | None = None

    def close(self) -> None:
        self.closed_at = trio.current_time()

    def has_spoken(self) -> bool:
        return False


@attrs.frozen
class FakeJudge:
    """Asks the machine where `readiness` asks a socket."""

    machine: FakeMachine
    stuck: trio.Event = attrs.Factory(trio.Event)
    calls: list[str] = attrs.Factory(list)
    faults: dict[str, str] = attrs.Factory(dict)
    """Why a call by this path fails."""
    slow: dict[str, float] = attrs.Factory(dict)
    """How long a call by this path takes, if not 2 s."""

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
        lines = 0
        while not self.machine.answers(endpoint):
            seen = [
                line async for line in runtime.log_lines(launch.service, run, tail=9, follow=False)
            ]
            if len(seen) > lines:
                lines = len(seen)
                alive()
            await trio.sleep(0.5)

    async def examine(self, launch: LaunchSpec) -> Cause | None:
        # In no thread: the clock of a test would run ahead of it.
        return None if launch.examine is None else launch.examine()

    async def ask(self, call: Call, endpoint: Endpoint) -> str | None:
        self.calls.append(call.path)
        await trio.sleep(self.slow.get(call.path, 2.0))
        return self.faults.get(call.path)

    async def wait_stuck(
        self, launch: LaunchSpec, endpoint: Endpoint, has_spoken: Callable[[], bool]
    ) -> Cause:
        await self.stuck.wait()
        return Cause("stuck", "it has stopped answering")


def service(name: ServiceId, *, fingerprint: str = "1", **spec: Any) -> Service:
    """Return a service that claims what `CLAIMS` says."""
    placements = (Placement.of([(GPU, CLAIMS[name])]),)
    return Service(
        spec=attrs.evolve(ServiceSpec(name, placements, idle_s=300.0), **spec),
        launch=LaunchSpec(name, ProcessSpec(("true",)), fingerprint=fingerprint),
        type="custom",
        runtime="process",
        wait_s=600.0,
    )


@attrs.define
class Rig:
    """What a test holds in its hands."""

    conductor: Conductor[FakeConnections]
    machine: FakeMachine
    judge: FakeJudge
    facts: list[Fact]
    decisions: Decisions
    scope: trio.CancelScope

    def states(self, name: ServiceId) -> list[State]:
        """Return the states that a service went through."""
        moves = [fact for fact in self.facts if isinstance(fact, Changed) and fact.service == name]
        return [move.new for move in moves]

    def state(self, name: ServiceId) -> State:
        return self.conductor.view().service(name).state


@asynccontextmanager
async def conducting(
    scripts: Mapping[ServiceId, Script] | None = None,
    *,
    machine: FakeMachine | None = None,
    engine: FakeMachine | None = None,
    services: tuple[Service, ...] | None = None,
    journal_file: JournalFile | None = None,
    gate: ImageGate | None = None,
    more: Mapping[str, Runtime] | None = None,
) -> AsyncIterator[Rig]:
    """Run a conductor over a machine; leaving the block ends it as kill -9 would.

    Services whose runtime is `docker` run on the machine `engine`; `more` has further runtimes.
    """
    machine = machine or FakeMachine(dict(scripts or {}))
    services = services or (service(CHAT), service(CODER))
    facts: list[Fact] = []
    decisions = Decisions("cost_rate")
    judge = FakeJudge(machine)
    conductor = Conductor(
        CoreConfig(DEVICES, tuple(one.spec for one in services)),
        {one.spec.id: one for one in services},
        {
            "process": FakeRuntime(machine),
            "docker": FakeRuntime(engine or FakeMachine()),
            **(more or {}),
        },
        connect=FakeConnections,
        tell=facts.append,
        journal_file=journal_file,
        decisions=decisions,
        gate=gate,
        judge=judge,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(conductor.run)
        yield Rig(conductor, machine, judge, facts, decisions, nursery.cancel_scope)
        nursery.cancel_scope.cancel()
