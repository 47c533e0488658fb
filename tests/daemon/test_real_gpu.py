"""A real GPU of NVIDIA, with the real driver: run by hand, with the option `--gpu`.

The fake library of the other tests says what NVML's documents say; here the driver itself answers.
The servers hold memory by CUDA (tests/rig/gpu_server.py); the real llama-server takes part where
`LLAMA_SERVER` names a build of it for CUDA.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxycore import DeviceId
from proxyserver.gauges.nvml import find_gpus
from tests.daemon.rig import Daemon, events, wait_until
from tests.daemon.test_gpus import gauges, measured, vram
from tests.gguf.writing import dense, dense_tensors, words, write

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.gpu

GIB = 1 << 30
MIB = 1 << 20
GPU0 = DeviceId("gpu0")
CAPACITY = 24 * GIB
"""What the daemon is told it may use: a desktop's GPU, whatever is here."""
CONTEXT = GIB
"""More than a CUDA context takes by itself."""
SERVER = Path(__file__).parents[1] / "rig" / "gpu_server.py"
LLAMA = os.environ.get("LLAMA_SERVER", "")


def service(*, claims: str, takes_mib: int, **environment: str) -> dict[str, Any]:
    variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", "VRAM_MIB": str(takes_mib), **environment}
    command = [sys.executable, str(SERVER)]
    return {
        "process": {"command": command, "environment": variables},
        "memory": {"vram": claims},
    }


@pytest.fixture
def new_gpu_daemon(new_daemon: NewDaemon) -> NewDaemon:
    def make(services: dict[str, Any], **server: Any) -> Daemon:
        defaults = {"devices": {"gpu0": f"{CAPACITY >> 30}GiB"}, "ram": "64GiB"}
        return new_daemon(services, **{**defaults, **server})

    return make


@contextmanager
def stranger(mib: int) -> Iterator[None]:
    """Hold so much by a process that is none of ours."""
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0", "VRAM_MIB": str(mib)}
    before = free()
    process = subprocess.Popen([sys.executable, str(SERVER)], env=environment)
    try:
        wait_until("the stranger holds it", lambda: free() <= before - mib * MIB)
        yield
    finally:
        process.kill()
        process.wait()


def free() -> int:
    """Return what is free of the first GPU, by the driver's own tool.

    What it calls used is less than the rest: it leaves out what the driver keeps for itself.
    """
    ask = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", "0"]
    return int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout) * MIB


def ready(daemon: Daemon, name: str) -> int:
    """Ask a service; return what it holds of the GPU, once that is seen."""
    answer = daemon.chat(name)
    assert answer.status_code == 200, answer.text
    wait_until(f"{name} in the figures", lambda: bool(vram(daemon, name)))
    return (vram(daemon, name) or {})["gpu0"]


def test_what_is_found_is_what_the_driver_tells() -> None:
    """The size is that of nvidia-smi, which counts what the driver keeps for itself."""
    ask = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    found = find_gpus()
    assert [amount // MIB for amount in found.values()] == [int(one) for one in listed]


def test_a_run_is_known_by_what_it_holds(new_gpu_daemon: NewDaemon) -> None:
    """The driver's figures of processes lead to the run; it sees the GPU of its placement alone."""
    daemon = new_gpu_daemon({"a": service(claims="4GiB", takes_mib=3072)})
    held = ready(daemon, "a")
    assert 3072 * MIB < held < 3072 * MIB + CONTEXT
    assert daemon.chat("a").json()["visible"] in ("0", _uuid())
    said = measured(daemon, "gpu0")
    assert abs(said["free"] - free()) <= 2 * MIB
    assert gauges(daemon)["gpu"]["ok"]
    print("held", held / MIB, gauges(daemon)["gpu"]["message"], said)


def _uuid() -> str:
    ask = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader", "-i", "0"]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()


def test_what_was_seen_is_claimed_from_then_on(new_gpu_daemon: NewDaemon) -> None:
    """Two whose claims exclude each other live together once it is known what they take."""
    both = {name: service(claims="16GiB", takes_mib=6144) for name in ("a", "b")}
    daemon = new_gpu_daemon(both)
    ready(daemon, "a")
    ready(daemon, "b")
    assert daemon.state("a") == "down"
    ready(daemon, "a")
    ready(daemon, "b")
    assert (daemon.state("a"), daemon.state("b")) == ("ready", "ready")


def test_a_stranger_makes_room_scarcer(new_gpu_daemon: NewDaemon) -> None:
    """An idle service leaves when a game takes the memory, and does not fit beside it."""
    daemon = new_gpu_daemon(
        {name: service(claims="9GiB", takes_mib=8192) for name in ("a", "b")},
        devices={"gpu0": find_gpus()[GPU0]},
        headroom="1GiB",
    )
    ready(daemon, "a")
    ready(daemon, "b")
    # Its own context takes some 500 MiB.
    with stranger(free() // MIB - 1024):
        wait_until("one has left", lambda: "down" in (daemon.state("a"), daemon.state("b")))


def test_out_of_memory_then_success(new_gpu_daemon: NewDaemon) -> None:
    """Who claimed too little meets the driver's refusal, is thought larger, and is tried again."""
    total = find_gpus()[GPU0]
    with stranger(free() // MIB - 14 * 1024):
        daemon = new_gpu_daemon(
            {
                "a": service(claims="5GiB", takes_mib=5 * 1024),
                "b": service(claims="6GiB", takes_mib=9 * 1024),
            },
            devices={"gpu0": total},
        )
        ready(daemon, "a")
        ready(daemon, "b")
        assert daemon.state("a") == "down"
        assert daemon.service("b")["failures"] == 0
        assert "which ran out of memory" in daemon.log


def test_memory_is_back_before_the_next_starts(new_gpu_daemon: NewDaemon) -> None:
    """Ten swaps of services that exclude each other: no start meets a full GPU."""
    both = {name: service(claims="16GiB", takes_mib=15 * 1024, TERM_MS="50") for name in ("a", "b")}
    total = find_gpus()[GPU0]
    with stranger(free() // MIB - 20 * 1024):
        daemon = new_gpu_daemon(both, devices={"gpu0": total})
        took = []
        for number in range(10):
            begin = time.monotonic()
            assert daemon.chat("ab"[number % 2]).status_code == 200
            took.append(time.monotonic() - begin)
        assert "out of memory" not in daemon.log
        print("swaps", [round(one, 2) for one in took])
        print(*(line for line in daemon.log.splitlines() if "verifying" in line), sep="\n")


def test_the_next_life_adopts_what_it_holds(new_gpu_daemon: NewDaemon) -> None:
    daemon = new_gpu_daemon({"a": service(claims="4GiB", takes_mib=3072)})
    held = ready(daemon, "a")
    daemon.kill()
    daemon.start()
    wait_until("adopted", lambda: daemon.state("a") == "ready")
    wait_until("seen again", lambda: vram(daemon, "a") == {"gpu0": held})


# The real llama-server


def model(folder: Path, name: str, layers: int, **more: int) -> Path:
    metadata = {**dense(layers, **more), **words()}
    return write(folder / f"{name}.gguf", metadata, dense_tensors(layers))


def at_rest(daemon: Daemon, name: str) -> int:
    """Return what a service holds once that has been the same for some measurements."""
    seen: list[dict[str, int] | None] = [None]

    def is_settled() -> bool:
        time.sleep(0.1)
        seen.append(vram(daemon, name))
        return len(seen) > 15 and bool(seen[-1]) and all(one == seen[-1] for one in seen[-15:])

    wait_until(f"{name} holds what it needs", is_settled)
    return (seen[-1] or {})["gpu0"]


def llama(path: Path, **more: Any) -> dict[str, Any]:
    arguments = ["--no-warmup", *more.pop("args", [])]
    return {
        "type": "llamacpp",
        "model": str(path),
        "binary": LLAMA,
        "gpu_layers": "all",
        "args": arguments,
        **more,
    }


def say(daemon: Daemon, name: str) -> str:
    body = {"model": name, "prompt": "a b c", "max_tokens": 8}
    answer = daemon.request("POST", "/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.text


needs_llama = pytest.mark.skipif(not LLAMA, reason="LLAMA_SERVER names no llama-server for CUDA")


@needs_llama
@pytest.mark.parametrize("ctx", [4096, 16384, 32768])
@pytest.mark.parametrize("cache", ["f16", "q8_0"])
def test_the_estimate_is_what_it_takes(
    ctx: int, cache: str, tmp_path: Path, new_gpu_daemon: NewDaemon
) -> None:
    """What is claimed from the head of a file is what the driver says that the server holds."""
    path = model(tmp_path, "m", 24)
    daemon = new_gpu_daemon({"m": llama(path, ctx=ctx, cache_type_k=cache, cache_type_v=cache)})
    claimed = daemon.service("m")["estimates"][0]["gpu0"]
    say(daemon, "m")
    held = at_rest(daemon, "m")
    print(f"ctx {ctx} {cache}: claimed {claimed / MIB:.0f} MiB, held {held / MIB:.0f} MiB")
    assert 0.98 < claimed / held < 1.05


@needs_llama
def test_real_models_take_turns(tmp_path: Path, new_gpu_daemon: NewDaemon) -> None:
    """Two that do not fit together swap, and the memory is back each time."""
    path = model(tmp_path, "m", 100)
    both = {name: llama(path, ctx=32768, memory={"vram": "14GiB"}) for name in ("a", "b")}
    daemon = new_gpu_daemon(both)
    took = []
    for number in range(6):
        begin = time.monotonic()
        say(daemon, "ab"[number % 2])
        took.append(round(time.monotonic() - begin, 2))
    print("swaps of llama-server", took)
    assert "out of memory" not in daemon.log


@needs_llama
def test_a_context_that_does_not_fit(tmp_path: Path, new_gpu_daemon: NewDaemon) -> None:
    """The driver's refusal is told as what it is, with what would help."""
    path = model(tmp_path, "m", 24, context_length=131072)
    total = find_gpus()[GPU0]
    with stranger(free() // MIB - 4 * 1024):
        claim = {"memory": {"vram": "1GiB"}}
        daemon = new_gpu_daemon(
            {"m": llama(path, ctx=131072, args=["-fit", "off"], **claim)},
            devices={"gpu0": total},
        )
        body = {"model": "m", "prompt": "a b c", "max_tokens": 8}
        answer = daemon.request("POST", "/v1/completions", json=body)
        print(answer.status_code, answer.text)
        print(daemon.command("logs", "m").stdout[-3000:])
        assert answer.status_code == 503
        assert "memory" in answer.json()["error"]["message"]


@needs_llama
def test_the_router_holds_two_of_three(tmp_path: Path, new_gpu_daemon: NewDaemon) -> None:
    """Models inside the real router are loaded and unloaded for room on a real GPU."""
    folder = tmp_path / "models"
    folder.mkdir()
    names = ("one", "two", "three")
    for name in names:
        model(folder, name, 100)
    daemon = new_gpu_daemon(
        {
            "router": {
                "type": "llamacpp-router",
                "models_dir": str(folder),
                "binary": LLAMA,
                "ctx": 4096,
                "gpu_layers": "all",
                "args": ["--no-warmup"],
                "memory": {"vram": "1GiB"},
                "models": [{"name": name, "memory": {"vram": "8GiB"}} for name in names],
            }
        }
    )
    took = []
    for number in range(6):
        begin = time.monotonic()
        assert f'"model":"{names[number % 3]}"' in say(daemon, f"router/{names[number % 3]}")
        took.append(round(time.monotonic() - begin, 2))
        print(number, free() / MIB, [daemon.state(f"router/{name}") for name in names])
    print("switches of the router", took)
    loaded = [name for name in names if daemon.state(f"router/{name}") == "ready"]
    assert len(loaded) == 2


@needs_llama
def test_a_stream_ends_as_it_should(tmp_path: Path, new_gpu_daemon: NewDaemon) -> None:
    daemon = new_gpu_daemon({"m": llama(model(tmp_path, "m", 8), ctx=2048)})
    with daemon.stream("m") as answer:
        *_, last = events(answer)
    assert last == "[DONE]"
