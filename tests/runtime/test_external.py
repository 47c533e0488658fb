"""The contract of runtimes, as far as it holds for servers that run elsewhere."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from proxycore import RunId, ServiceId
from proxyserver.contract import (
    ALPHA,
    CHECKS,
    KIND,
    PLACEMENT,
    Behaviour,
    Check,
    ServerBench,
    check_name,
)
from proxyserver.runtime import (
    Endpoint,
    ExternalRuntime,
    ExternalSpec,
    FailurePattern,
    LaunchSpec,
    Runtime,
    RuntimeFault,
)
from proxyserver.runtime._ports import free_port

from .benches import FINGERPRINT

KEPT = frozenset(
    """
    adoption
    cancelled_start
    concurrent_starts
    is_reachable
    missing_program
    runs_that_never_were
    stranger_is_not_owned
    """.split()
)
"""The others are of ends by itself, logs and memory, of which a server elsewhere tells nothing."""
APPLY = tuple(check for check in CHECKS if check_name(check) in KEPT)


class ExternalBench(ServerBench):
    """The scripted server, started and stopped by commands as a service manager would."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self.folder, self.binary = folder, binary
        self.specs: dict[ServiceId, LaunchSpec] = {}
        self.ports: set[int] = set()
        self.runtime: Runtime = self.reborn()

    def reborn(self) -> ExternalRuntime:
        return ExternalRuntime(state_dir=self.folder, specs=self.specs)

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec:
        if service not in self.specs:
            port = free_port(self.ports)
            self.ports.add(port)
            pid_file = self.folder / f"{port}.pid"
            start = (
                f"HOST=127.0.0.1 PORT={port} setsid {self.binary} >/dev/null 2>&1 &"
                f" echo $! > {pid_file}"
            )
            stop = f"test ! -e {pid_file} || {{ kill -9 $(cat {pid_file}); rm {pid_file}; }}"
            what = ExternalSpec(
                Endpoint("127.0.0.1", port), ("sh", "-c", start), ("sh", "-c", stop)
            )
            self.specs[service] = LaunchSpec(service, what, fingerprint=FINGERPRINT)
        return self.specs[service]

    def spec_of_nothing(self) -> LaunchSpec:
        what = ExternalSpec(Endpoint("127.0.0.1", 9), ("/nothing-here",))
        return LaunchSpec(ALPHA, what)


@pytest.fixture
async def bench(tmp_path: Path, mock_binary: Path) -> AsyncIterator[ExternalBench]:
    bench = ExternalBench(tmp_path, mock_binary)
    try:
        yield bench
    finally:
        with trio.CancelScope(shield=True), trio.fail_after(30):
            for found in await bench.reborn().found():
                await bench.runtime.kill(found.service, found.run)


@pytest.mark.mock_binary
@pytest.mark.parametrize("check", APPLY, ids=check_name)
async def test_external(check: Check, bench: ExternalBench) -> None:
    await check(bench)


async def test_a_stop_that_fails_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    """The run is not taken for gone; what stopped it is remembered without a configuration."""
    stop = ("sh", "-c", f"test -e {tmp_path}/may-go")
    what = ExternalSpec(Endpoint("127.0.0.1", 9), ("true",), stop)
    spec = LaunchSpec(ALPHA, what, fingerprint="f")
    runtime = ExternalRuntime(state_dir=tmp_path, specs={ALPHA: spec})
    await runtime.start(spec, RunId(1), PLACEMENT)
    with pytest.raises(RuntimeFault, match="ended with 1"):
        await runtime.stop(ALPHA, RunId(1), 1.0)
    later = ExternalRuntime(state_dir=tmp_path, specs={})
    [found] = await later.found()
    assert (found.run, found.alive, found.endpoint) == (RunId(1), True, None)
    (tmp_path / "may-go").touch()
    await later.kill(ALPHA, RunId(1))
    assert list(await later.found()) == []
