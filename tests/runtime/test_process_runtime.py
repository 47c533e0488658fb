"""What is special about processes: files, numbers, groups and ports."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel

from proxycore import DeviceId, Placement, RunId
from proxyserver.contract import ALPHA, PATIENCE_S, PLACEMENT, cleaned, eventually, start
from proxyserver.runtime import (
    LaunchSpec,
    ProcessRuntime,
    ProcessSpec,
    RuntimeFault,
    _proc,
    instance_id,
)

from .benches import MockBench

ROOT = Path(__file__).parents[2]
FIRST = RunId(1)


@pytest.fixture
async def bench(tmp_path: Path, mock_binary: Path) -> AsyncIterator[MockBench]:
    bench = MockBench(tmp_path, mock_binary)
    async with cleaned(bench):
        yield bench


def spec_of(*command: str, **more: object) -> LaunchSpec:
    return LaunchSpec(ALPHA, ProcessSpec(command, **more))  # type: ignore[arg-type]


def shell(script: str) -> LaunchSpec:
    return spec_of("/bin/sh", "-c", script)


async def log_of(bench: MockBench, spec: LaunchSpec) -> list[str]:
    """Run to the end and return the log."""
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    with trio.fail_after(PATIENCE_S):
        return list((await bench.runtime.wait_gone(spec, FIRST)).log_tail)


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


async def pid_in_log(bench: MockBench) -> int:
    """Wait for the number that a script wrote to its log."""
    words: list[str] = []

    async def is_there() -> bool:
        lines = bench.runtime.log_lines(ALPHA, FIRST, tail=1, follow=False)
        words.extend([line async for line in lines])
        return bool(words)

    await eventually(is_there)
    return int(words[0])


async def fault_of(bench: MockBench, spec: LaunchSpec) -> RuntimeFault:
    with pytest.raises(RuntimeFault) as caught:
        await bench.runtime.start(spec, FIRST, PLACEMENT)
    assert list(await bench.runtime.found()) == []
    assert list((bench.state_dir / "processes").glob("*")) == []
    return caught.value


async def test_port_is_put_in_words_and_environment(bench: MockBench) -> None:
    """`${PORT}` means the run's own port, wherever it stands."""
    spec = spec_of(
        "/bin/sh", "-c", 'echo "$0 $HERE"', "word=${PORT}", environment=(("HERE", "at:${PORT}"),)
    )
    endpoint = await bench.runtime.start(spec, FIRST, PLACEMENT)
    report = await bench.runtime.wait_gone(spec, FIRST)
    assert report.log_tail == (f"word={endpoint.port} at:{endpoint.port}",)


async def test_working_dir(bench: MockBench, tmp_path: Path) -> None:
    """The command runs where it was told to."""
    assert await log_of(bench, spec_of("pwd", working_dir=str(tmp_path))) == [str(tmp_path)]


async def test_missing_working_dir(bench: MockBench) -> None:
    """A folder that does not exist is not taken for a missing program."""
    fault = await fault_of(bench, spec_of("pwd", working_dir="/no-such-folder"))
    assert fault.cause.kind == "bad_working_dir"
    assert "/no-such-folder" in fault.cause.message


async def test_file_that_is_no_program(bench: MockBench, tmp_path: Path) -> None:
    """A file may lack the right to be run, or the form."""
    file = tmp_path / "file"
    file.write_bytes(b"\0\0\0\0")
    assert (await fault_of(bench, spec_of(str(file)))).cause.kind == "not_executable"
    file.chmod(stat.S_IRWXU)
    assert (await fault_of(bench, spec_of(str(file)))).cause.kind == "not_executable"


async def test_taken_port(bench: MockBench) -> None:
    """A fixed port that somebody has is named, and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        fault = await fault_of(bench, spec_of("sleep", "60", port=port))
    assert fault.cause.kind == "port_in_use"
    assert str(port) in fault.cause.message


async def test_stranger_on_our_port(bench: MockBench) -> None:
    """Whoever listens on the run's port while the run does not is a stranger."""
    endpoint = await bench.runtime.start(spec_of("sleep", "60"), FIRST, PLACEMENT)
    assert not await bench.runtime.owns(ALPHA, FIRST, endpoint)
    with socket.create_server((endpoint.host, endpoint.port)):
        assert not await bench.runtime.owns(ALPHA, FIRST, endpoint)


@pytest.mark.slow
async def test_children_go_with_their_leader(bench: MockBench) -> None:
    """A stop ends all of the group, also who does not listen."""
    spec = shell("trap 'exit 0' TERM; (trap '' TERM; exec sleep 60) & echo $!; wait")
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    child = await pid_in_log(bench)
    assert is_alive(child)
    with trio.fail_after(PATIENCE_S):
        await bench.runtime.stop(ALPHA, FIRST, 0.3)
    assert not is_alive(child)


@pytest.mark.slow
async def test_orphans_do_not_outlive_the_run(bench: MockBench) -> None:
    """A leader that dies alone takes its children with it before the run counts as gone."""
    spec = shell("trap '' HUP; sleep 60 & echo $!")
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    child = await pid_in_log(bench)
    with trio.fail_after(PATIENCE_S):
        assert (await bench.runtime.wait_gone(spec, FIRST)).exit_code == 0
    assert not is_alive(child)


@pytest.mark.slow
@pytest.mark.parametrize("leader", ["", "exec sleep 60"])
async def test_who_leaves_the_session_is_still_of_the_run(bench: MockBench, leader: str) -> None:
    """A server that makes itself a daemon listens for us, and ends with its leader."""
    what = bench.spec().what
    assert isinstance(what, ProcessSpec)
    script = f"setsid {what.command[0]} & sleep 0.3; {leader}"
    spec = attrs.evolve(bench.spec(), what=attrs.evolve(what, command=("/bin/sh", "-c", script)))
    endpoint = await bench.runtime.start(spec, FIRST, PLACEMENT)
    await eventually(partial(bench.runtime.owns, ALPHA, FIRST, endpoint))
    (listener,) = _proc.listeners_on(endpoint.port)
    if leader:
        await bench.runtime.stop(ALPHA, FIRST, 1.0)
    with trio.fail_after(PATIENCE_S):
        await bench.runtime.wait_gone(spec, FIRST)

    async def is_free() -> bool:
        return listener not in _proc.listeners_on(endpoint.port)

    # Who ends is known by nothing any more a moment before the kernel closes its sockets.
    await eventually(is_free)


async def test_state_folder_that_takes_nothing(bench: MockBench) -> None:
    """A full or broken disk fails a start that may work later, and nothing else."""
    (bench.state_dir / "processes").write_text("not a folder")
    with pytest.raises(RuntimeFault, match="state_dir") as caught:
        await bench.runtime.start(bench.spec(), FIRST, PLACEMENT)
    assert (caught.value.cause.kind, caught.value.cause.heals) == ("state_dir", True)


async def test_reused_number_is_never_touched(bench: MockBench) -> None:
    """A state file whose number now belongs to a stranger is a dead run, and the stranger lives."""
    await start(bench, bench.spec())
    (state_file,) = (bench.state_dir / "processes").glob("*.json")
    record = json.loads(state_file.read_bytes())
    stranger = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220
    try:
        state_file.with_name("alpha.9.json").write_text(
            json.dumps({**record, "run": 9, "marker": "9", "pid": stranger.pid, "start_ticks": 1})
        )
        found = {one.run: one.alive for one in await bench.runtime.found()}
        assert found == {1: True, 9: False}
        await bench.runtime.stop(ALPHA, RunId(9), 1)
        await bench.runtime.kill(ALPHA, RunId(9))
        await bench.runtime.forget(ALPHA, RunId(9))
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_daemon_died_before_it_knew_the_number(bench: MockBench) -> None:
    """A process whose number did not get into its state file is found by its environment."""
    endpoint = await start(bench, bench.spec())
    (state_file,) = (bench.state_dir / "processes").glob("*.json")
    record = json.loads(state_file.read_bytes())
    state_file.write_text(json.dumps({**record, "pid": None, "start_ticks": 0}))
    (found,) = await bench.reborn().found()
    assert (found.alive, found.endpoint) == (True, endpoint)
    assert json.loads(state_file.read_bytes()) == record


async def test_broken_state_file_is_removed(bench: MockBench) -> None:
    """What we did not write is not trusted, and does not stop us."""
    folder = bench.state_dir / "processes"
    folder.mkdir()
    for text in ("", "[]", '{"run": 1}', "\0"):
        (folder / "broken.json").write_text(text)
        assert list(await bench.runtime.found()) == []
        assert list(folder.iterdir()) == []


DAEMON = """
import sys, time, trio
from pathlib import Path
from proxycore import Placement, RunId, ServiceId
from proxyserver.runtime import LaunchSpec, ProcessRuntime, ProcessSpec

async def main(state_dir, program):
    state_dir = Path(state_dir)
    runtime = ProcessRuntime(instance=str(state_dir), state_dir=state_dir)
    spec = LaunchSpec(
        ServiceId("alpha"), ProcessSpec((program,), (("PORT", "${PORT}"),)), fingerprint="f00d"
    )
    endpoint = await runtime.start(spec, RunId(1), Placement())
    print(endpoint.port, flush=True)
    time.sleep(60)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
async def test_kill_of_the_daemon(bench: MockBench, mock_binary: Path) -> None:
    """A run outlives a daemon killed by force: it serves, logs, is adopted and ended."""
    daemon = subprocess.Popen(  # noqa: ASYNC220  it takes a millisecond
        [sys.executable, "-c", DAEMON, str(bench.state_dir), str(mock_binary)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert daemon.stdout is not None
    with daemon.stdout:
        port = int(await trio.to_thread.run_sync(daemon.stdout.readline))
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    (found,) = await bench.runtime.found()
    assert found.alive
    assert found.endpoint is not None
    assert found.endpoint.port == port
    endpoint = found.endpoint
    await eventually(lambda: bench.answers(endpoint))
    assert await bench.runtime.owns(ALPHA, FIRST, endpoint)
    await bench.say(endpoint, "orphan")
    lines = bench.runtime.log_lines(ALPHA, FIRST, tail=1, follow=False)
    assert [line async for line in lines] == ["orphan"]
    with trio.fail_after(PATIENCE_S):
        await bench.runtime.stop(ALPHA, FIRST, PATIENCE_S)
        report = await bench.runtime.wait_gone(bench.spec(), FIRST)
    assert report.exit_code is None, "only a parent is told"
    assert not await bench.answers(endpoint)


@pytest.mark.slow
async def test_log_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    """A server that logs without end fills a bounded file and does not notice."""
    runtime = ProcessRuntime(instance=str(tmp_path), state_dir=tmp_path, log_bytes_max=10_000)
    spec = shell("while :; do echo a line of a busy log; sleep 0.001; done")
    await runtime.start(spec, FIRST, PLACEMENT)
    (log_file,) = (tmp_path / "processes").glob("*.log")

    sizes = [0]

    async def was_cut() -> bool:
        await trio.lowlevel.checkpoint()
        sizes.append(log_file.stat().st_size)
        return sizes[-1] < sizes[-2]

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.wait_gone, spec, FIRST)
            await eventually(was_cut)
            await runtime.kill(ALPHA, FIRST)
    finally:
        await runtime.kill(ALPHA, FIRST)
    assert log_file.stat().st_size <= 10_000


async def test_logs_of_the_last_two_runs_stay(bench: MockBench) -> None:
    """The log of a run is there until the next but one run of its service."""
    for number in (1, 2, 3):
        spec = shell(f"echo run {number}")
        await bench.runtime.start(spec, RunId(number), Placement())
        await bench.runtime.wait_gone(spec, RunId(number))
        await bench.runtime.forget(ALPHA, RunId(number))
    kept = {
        number: [line async for line in bench.runtime.log_lines(ALPHA, number, tail=1, follow=True)]
        for number in map(RunId, (1, 2, 3))
    }
    assert kept == {1: [], 2: ["run 2"], 3: ["run 3"]}


def test_instance_is_made_once(tmp_path: Path) -> None:
    """The folder owns the id; another folder has another."""
    first = instance_id(tmp_path / "a")
    assert instance_id(tmp_path / "a") == first
    assert instance_id(tmp_path / "b") != first
    (tmp_path / "a" / "instance").write_text("../../etc")
    assert set(instance_id(tmp_path / "a")) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("devices", "environment", "seen"),
    [
        (("gpu0", "gpu2", "ram"), (), "0,2 PCI_BUS_ID"),
        (("gpu1",), (("CUDA_VISIBLE_DEVICES", "GPU-x"),), "GPU-x PCI_BUS_ID"),
        (("ram",), (), "all -"),
        (("big",), (), "all -"),
    ],
)
async def test_sees_the_gpus_of_its_placement(
    bench: MockBench,
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    environment: tuple[tuple[str, str], ...],
    seen: str,
) -> None:
    """By number and by PCI bus; its own environment goes before, and what has no number is left."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    echo = ("/bin/sh", "-c", "echo $CUDA_VISIBLE_DEVICES ${CUDA_DEVICE_ORDER:--}")
    spec = spec_of(*echo, environment=environment)
    placement = Placement.of((DeviceId(device), 1) for device in devices)
    await bench.runtime.start(spec, FIRST, placement)
    with trio.fail_after(PATIENCE_S):
        assert (await bench.runtime.wait_gone(spec, FIRST)).log_tail == (seen,)


async def test_children_are_of_the_run(bench: MockBench) -> None:
    """Those of its session, though their environment is gone, and by their mark those outside."""
    lines = "env -i sleep 60 & echo $!; setsid sleep 60 & echo $!; wait"
    await bench.runtime.start(shell(lines), FIRST, PLACEMENT)
    children: list[int] = []

    async def are_known() -> bool:
        log = [line async for line in bench.runtime.log_lines(ALPHA, FIRST, tail=9, follow=False)]
        children[:] = [int(line) for line in log]
        return len(children) == 2 and (
            await bench.runtime.whose([*children, 1]) == dict.fromkeys(children, FIRST)
        )

    try:
        await eventually(are_known)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
