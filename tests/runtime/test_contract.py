"""One contract, kept by the fake, by processes and by containers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio.testing

from proxyserver.contract import CHECKS, Check, ProcessBench, check_name, cleaned, run_check
from proxyserver.runtime import ProcessRuntime
from tests.rig.engine import Engine

from .benches import DockerBench, FakeBench, MockBench

contract = pytest.mark.parametrize("check", CHECKS, ids=check_name)


@pytest.fixture
async def process_bench(tmp_path: Path, mock_binary: Path) -> AsyncIterator[MockBench]:
    bench = MockBench(tmp_path, mock_binary)
    async with cleaned(bench):
        yield bench


@pytest.fixture
async def docker_bench(
    tmp_path: Path, engine: Engine, mock_image: str
) -> AsyncIterator[DockerBench]:
    bench = DockerBench(tmp_path, engine.host, mock_image)
    async with cleaned(bench):
        yield bench


@contract
async def test_fake(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await check(FakeBench())


@contract
async def test_process(check: Check, process_bench: MockBench) -> None:
    await check(process_bench)


@pytest.mark.engine
@pytest.mark.slow
@contract
async def test_docker(check: Check, docker_bench: DockerBench) -> None:
    await check(docker_bench)


@pytest.mark.slow
@contract
def test_process_with_the_server_that_comes_with_the_contract(check: Check, tmp_path: Path) -> None:
    """It plays what the checks ask for as well as the one in C: authors need no compiler."""

    def make() -> ProcessRuntime:
        return ProcessRuntime(instance=str(tmp_path), state_dir=tmp_path)

    run_check(check, lambda: ProcessBench(make))
