"""One contract, kept by the fake, by processes and by containers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio.testing

from tests.rig.engine import Engine

from .benches import DockerBench, FakeBench, ProcessBench, cleaned
from .contract import CHECKS, Check, check_name

contract = pytest.mark.parametrize("check", CHECKS, ids=check_name)


@pytest.fixture
async def process_bench(tmp_path: Path, mock_binary: Path) -> AsyncIterator[ProcessBench]:
    bench = ProcessBench(tmp_path, mock_binary)
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
async def test_process(check: Check, process_bench: ProcessBench) -> None:
    await check(process_bench)


@pytest.mark.engine
@pytest.mark.slow
@contract
async def test_docker(check: Check, docker_bench: DockerBench) -> None:
    await check(docker_bench)
