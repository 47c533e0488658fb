"""The benches on which the contract is checked: where each kind of runtime finds its world."""

from pathlib import Path

import attrs
import trio

from proxycore import Cause, ServiceId
from proxyserver.contract import ALPHA, KIND, Behaviour, ProcessBench, ServerBench, environment_of
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

FINGERPRINT = "f00d"


class MockBench(ProcessBench):
    """Processes of the scripted server in C."""

    def __init__(self, state_dir: Path, binary: Path) -> None:
        self.state_dir = state_dir
        self.binary = binary
        super().__init__(
            lambda: ProcessRuntime(instance=str(state_dir), state_dir=state_dir),
            command=(str(binary),),
        )


class DockerBench(ServerBench):
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
        what = ContainerSpec(self.image, MOCK_PORT, environment=environment_of(behaviour))
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
