"""The benches on which the contract is checked: where each kind of runtime finds its world."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import h11
import trio

from proxycore import Cause, ServiceId
from proxyserver.runtime import (
    ContainerSpec,
    DockerRuntime,
    Endpoint,
    FailurePattern,
    LaunchSpec,
    ProcessRuntime,
    ProcessSpec,
    Runtime,
)
from tests.rig.fake_runtime import FakeMachine, FakeRuntime, Script
from tests.rig.mock import MOCK_PORT

from .contract import ALPHA, KIND, Behaviour

ANSWER_S = 2.0
FINGERPRINT = "f00d"


# A server that is not there, still loading, crashing or hanging shows itself in all these ways.
NO_ANSWER = (OSError, trio.BrokenResourceError, h11.RemoteProtocolError)


async def ask(endpoint: Endpoint, path: str) -> int | None:
    """Return the status of a GET; None if there is no whole answer."""
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", "mock")])
    data = connection.send(request)
    assert data is not None
    with trio.move_on_after(ANSWER_S), contextlib.suppress(*NO_ANSWER):
        async with await trio.open_tcp_stream(endpoint.host, endpoint.port) as stream:
            await stream.send_all(data)
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(4096)))
            assert isinstance(event, h11.Response)
            return event.status_code
    return None


def mock_environment(behaviour: Behaviour) -> tuple[tuple[str, str], ...]:
    """Return what makes the scripted server behave so."""
    return (
        ("LOAD_MS", str(round(behaviour.load_s * 1000))),
        ("LOAD_EXIT", "" if behaviour.exit_code is None else str(behaviour.exit_code)),
        ("LOAD_OOM", str(int(behaviour.out_of_gpu))),
        ("IGNORE_TERM", str(int(behaviour.ignores_term))),
    )


class MockBench:
    """What processes and containers have in common: the scripted server, asked by HTTP."""

    async def answers(self, endpoint: Endpoint) -> bool:
        return await ask(endpoint, "/health") == 200

    async def crash(self, endpoint: Endpoint) -> None:
        assert await ask(endpoint, "/mock/crash") is None

    async def say(self, endpoint: Endpoint, word: str) -> None:
        await ask(endpoint, f"/mock/log?{word}")


class ProcessBench(MockBench):
    def __init__(self, state_dir: Path, binary: Path) -> None:
        self.state_dir = state_dir
        self.binary = binary
        self.runtime: Runtime = self.reborn()

    def reborn(self) -> ProcessRuntime:
        return ProcessRuntime(instance=self.state_dir.name, state_dir=self.state_dir)

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec:
        environment = (("PORT", "${PORT}"), *mock_environment(behaviour))
        what = ProcessSpec((str(self.binary),), environment)
        return LaunchSpec(service, what, failures=failures, fingerprint=FINGERPRINT)

    def spec_of_nothing(self) -> LaunchSpec:
        return LaunchSpec(ALPHA, ProcessSpec(("/nothing-here",)))


class DockerBench(MockBench):
    def __init__(self, state_dir: Path, host: str, image: str) -> None:
        self.state_dir = state_dir
        self.host = host
        self.image = image
        self.runtime: Runtime = self.reborn()

    def reborn(self) -> DockerRuntime:
        return DockerRuntime(
            instance=self.state_dir.name, docker_host=self.host, state_dir=self.state_dir
        )

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec:
        what = ContainerSpec(self.image, MOCK_PORT, environment=mock_environment(behaviour))
        return LaunchSpec(service, what, failures=failures, fingerprint=FINGERPRINT)

    def spec_of_nothing(self) -> LaunchSpec:
        return LaunchSpec(ALPHA, ContainerSpec("nothing-here:1", MOCK_PORT))


class FakeBench:
    """The fake's scripts are exchanged by each `spec`."""

    def __init__(self) -> None:
        self.machine = FakeMachine()
        self.runtime: Runtime = self.reborn()

    def reborn(self) -> FakeRuntime:
        return FakeRuntime(self.machine)

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec:
        script = Script(
            start_s=0.005, ready_s=behaviour.load_s, ignores_term=behaviour.ignores_term
        )
        log = [(0.0, "loading model mock")]
        if behaviour.out_of_gpu:
            log.append((behaviour.load_s, "cudaMalloc failed: out of memory"))
            script = attrs.evolve(script, exit_s=behaviour.load_s)
        if behaviour.exit_code is not None:
            log.append((behaviour.load_s, "loading failed, as told"))
            script = attrs.evolve(script, exit_s=behaviour.load_s, exit_code=behaviour.exit_code)
        self.machine.scripts[service] = attrs.evolve(script, log=tuple(log))
        return LaunchSpec(service, ProcessSpec(("fake",)), failures=failures, fingerprint="f00d")

    def spec_of_nothing(self) -> LaunchSpec:
        fault = Cause("image_missing", "image 'nothing-here' is not here", heals=False)
        self.machine.scripts[ALPHA] = Script(start_fault=fault)
        return LaunchSpec(ALPHA, ProcessSpec(("nothing-here",)))

    async def answers(self, endpoint: Endpoint) -> bool:
        await trio.lowlevel.checkpoint()
        return self.machine.answers(endpoint)

    async def crash(self, endpoint: Endpoint) -> None:
        await trio.lowlevel.checkpoint()
        service = self.machine.at(endpoint)
        assert service is not None
        self.machine.end(service)

    async def say(self, endpoint: Endpoint, word: str) -> None:
        await trio.lowlevel.checkpoint()
        service = self.machine.at(endpoint)
        if service is not None:
            self.machine.say(service, word)


@contextlib.asynccontextmanager
async def cleaned(bench: ProcessBench | DockerBench) -> AsyncIterator[None]:
    """Leave nothing behind, whatever the check did."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True), trio.fail_after(30):
            runtime = bench.reborn()
            for found in await runtime.found():
                await runtime.kill(found.service, found.run)
                await runtime.forget(found.service, found.run)
