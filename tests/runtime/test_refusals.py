"""What stands in the way of a start, by the real thing: ports, disks, sockets, runtimes."""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from proxycore import RunId
from proxyserver.contract import ALPHA, BETA, PATIENCE_S, PLACEMENT, cleaned, start
from proxyserver.runtime import (
    ContainerSpec,
    DockerRuntime,
    LaunchSpec,
    PortBinding,
    ProcessRuntime,
    ProcessSpec,
    RuntimeFault,
)
from proxyserver.runtime._engine import Engine as EngineLine
from proxyserver.runtime._ports import free_port
from tests.rig.engine import Engine
from tests.rig.mock import MOCK_PORT

from .benches import DockerBench

FIRST = RunId(1)
CALM = "stop what listens there or choose another port"


@pytest.fixture
async def bench(tmp_path: Path, engine: Engine, mock_image: str) -> AsyncIterator[DockerBench]:
    bench = DockerBench(tmp_path, engine.host, mock_image)
    async with cleaned(bench):
        yield bench


def container(bench: DockerBench, **changes: object) -> LaunchSpec:
    spec = bench.spec()
    assert isinstance(spec.what, ContainerSpec)
    return attrs.evolve(spec, what=attrs.evolve(spec.what, **changes))  # type: ignore[arg-type]


def process(*command: str, port: int | None = None) -> LaunchSpec:
    return LaunchSpec(ALPHA, ProcessSpec(command, port=port))


@contextlib.contextmanager
def stranger() -> Iterator[tuple[int, str]]:
    """Run another program that listens; return its port, and what is said of it."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1],"
    program = subprocess.Popen(
        [sys.executable, "-c", f"{code} flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        name = Path(f"/proc/{program.pid}/comm").read_text().strip()
        yield port, f"by {name} (pid {program.pid})"
        assert program.stdin is not None
        program.stdin.close()


async def fault_of(runtime: ProcessRuntime | DockerRuntime, spec: LaunchSpec) -> RuntimeFault:
    with pytest.raises(RuntimeFault) as caught:
        await runtime.start(spec, FIRST, PLACEMENT)
    return caught.value


async def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    """A fixed port of a process: who has it is told by name and number."""
    runtime = ProcessRuntime(instance=str(tmp_path), state_dir=tmp_path)
    with stranger() as (port, who):
        fault = await fault_of(runtime, process("sleep", "60", port=port))
    assert (fault.cause.kind, fault.cause.heals) == ("port_in_use", True)
    assert fault.cause.message == f"port {port} is taken {who}: {CALM}"


@pytest.mark.engine
async def test_a_published_port_that_a_container_has(bench: DockerBench) -> None:
    """The container is named, and not the engine's own program that listens for it."""
    port = free_port()
    spec = container(bench, ports=(PortBinding(MOCK_PORT, port),))
    await start(bench, spec)
    with pytest.raises(RuntimeFault) as caught:
        await bench.runtime.start(attrs.evolve(spec, service=BETA), RunId(2), PLACEMENT)
    name = f"aiproxy-{bench.state_dir.name}-alpha-1"
    cause = caught.value.cause
    assert (cause.kind, cause.heals) == ("port_in_use", True)
    assert cause.message == f"port {port} is taken by the container {name!r}: {CALM}"


@pytest.mark.engine
async def test_a_published_port_that_another_program_has(bench: DockerBench) -> None:
    assert isinstance(bench.runtime, DockerRuntime)
    with stranger() as (port, who):
        spec = container(bench, ports=(PortBinding(MOCK_PORT, port),))
        fault = await fault_of(bench.runtime, spec)
    assert fault.cause.message == f"port {port} is taken {who}: {CALM}"


@pytest.mark.engine
async def test_a_runtime_that_the_engine_has_not(bench: DockerBench) -> None:
    """Not NVIDIA's alone has a name that may be missing."""
    assert isinstance(bench.runtime, DockerRuntime)
    fault = await fault_of(bench.runtime, container(bench, runtime="runsc"))
    assert (fault.cause.kind, fault.cause.heals) == ("oci_runtime", False)
    assert "runsc" in fault.cause.message
    fault = await fault_of(bench.runtime, container(bench, runtime="nvidia"))
    assert fault.cause.kind == "gpu_runtime"
    assert "NVIDIA Container Toolkit" in fault.cause.message


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "64k") -> Iterator[Path]:
    """Mount a disk of a few pages."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.engine  # It needs root.
async def test_a_full_disk_under_the_state_folder(tmp_path: Path) -> None:
    """A start fails that may work later; the folder is named, and what to do."""
    with small_disk(tmp_path / "disk") as disk:
        runtime = ProcessRuntime(instance=str(disk), state_dir=disk)
        (disk / "processes").mkdir()
        with (disk / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1024)):
                pass
        fault = await fault_of(runtime, process("sleep", "60"))
    assert (fault.cause.kind, fault.cause.heals) == ("state_dir", True)
    assert fault.cause.message == (
        f"cannot keep state and log in {disk}/processes: No space left on device: make room, or"
        " choose another `server.state_dir`"
    )


@pytest.mark.engine  # It needs root.
async def test_a_full_disk_under_a_server(tmp_path: Path) -> None:
    """A server that cannot write what it fetches says so in its log."""
    runtime = ProcessRuntime(instance=str(tmp_path), state_dir=tmp_path)
    with small_disk(tmp_path / "disk") as disk, trio.fail_after(PATIENCE_S):
        spec = process("dd", "if=/dev/zero", f"of={disk}/model", "bs=1k", "count=1000")
        await runtime.start(spec, FIRST, PLACEMENT)
        cause = (await runtime.wait_gone(spec, FIRST)).cause
    assert (cause.kind, cause.heals) == ("disk_full", True)
    assert "make room" in cause.message


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights, if this is root; other threads are not touched."""
    # Not os.seteuid, which is for all threads: those of the tests before are still there.
    libc = ctypes.CDLL(None, use_errno=True)
    setreuid = {"x86_64": 113, "aarch64": 145}[os.uname().machine]
    nobody, same = 65534, -1
    if os.geteuid() == 0:
        assert libc.syscall(setreuid, same, nobody) == 0
    try:
        yield
    finally:
        if os.getuid() == 0:
            assert libc.syscall(setreuid, same, 0) == 0


async def test_a_socket_that_is_not_for_us(tmp_path: Path) -> None:
    """Who may not use the engine learns how to be allowed."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        engine = EngineLine(f"unix://{path}")
        limiter = trio.CapacityLimiter(1)

        def check() -> str:
            with as_nobody(), pytest.raises(PermissionError) as caught:
                engine._connect()
            return str(engine.unreachable(caught.value))

        said = await trio.to_thread.run_sync(check, limiter=limiter)
    assert "Permission denied" in said
    assert "`sudo usermod -aG docker $USER`" in said
