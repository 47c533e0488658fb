"""Room is made by measurement: a whole daemon, real servers, and GPUs that others use too."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, Flavour, process_flavour, wait_until
from tests.daemon.test_gpus import gauges, measured, on_gpus, vram
from tests.rig.fake_gpus import ERROR_GPU_IS_LOST, GIB, RESERVED, FakeGpus

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.slow

STRANGER = 1
"""A process that is none of ours, and lives as long as the machine."""


@pytest.fixture
def processes(mock_binary: Path) -> Flavour:
    return process_flavour(mock_binary)


def service(
    flavour: Flavour, gpus: FakeGpus, *, claims: str, takes_mib: int, **environment: str
) -> dict[str, Any]:
    """Return a service that claims so much, and takes what it takes."""
    seen = {"VRAM_MIB": str(takes_mib), **environment}
    return {**on_gpus(flavour, gpus, seen), "memory": {"vram": claims}}


@contextmanager
def asked(daemon: Daemon, name: str) -> Iterator[Callable[[], httpx.Response]]:
    """Ask a service in the background; what is yielded returns the answer."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(daemon.chat, name)
        yield future.result


def ready(daemon: Daemon, name: str) -> None:
    assert daemon.chat(name).status_code == 200
    wait_until(f"{name} in the figures", lambda: bool(vram(daemon, name)))


def estimate(daemon: Daemon, name: str) -> int:
    amount: int = daemon.service(name)["estimates"][0]["gpu0"]
    return amount


def test_what_others_hold_makes_room_scarcer(
    flavour: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Two that fit together by their claims do not beside a stranger: the idle one leaves."""
    fake_gpus.plug(8 * GIB)
    fake_gpus.hold(STRANGER, {0: 2 * GIB})
    daemon = new_daemon(
        {
            name: service(flavour, fake_gpus, claims="3GiB", takes_mib=2560, MODEL=name)
            for name in ("a", "b")
        },
        environment=fake_gpus.environment(),
        **flavour.server,
    )
    ready(daemon, "a")
    ready(daemon, "b")
    assert daemon.state("a") == "down"
    assert measured(daemon, "gpu0")["foreign"] == 2 * GIB + RESERVED


def test_what_was_seen_is_claimed_from_then_on(
    flavour: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Two whose claims exclude each other live together once it is known what they take."""
    fake_gpus.plug(8 * GIB)
    daemon = new_daemon(
        {
            name: service(flavour, fake_gpus, claims="5GiB", takes_mib=2048, MODEL=name)
            for name in ("a", "b")
        },
        environment=fake_gpus.environment(),
        **flavour.server,
    )
    ready(daemon, "a")
    ready(daemon, "b")
    assert daemon.state("a") == "down"
    assert 2 * GIB < estimate(daemon, "a") < 2.2 * GIB
    assert daemon.stop() == 0
    daemon.start()  # What was learnt outlives the daemon.
    wait_until("b is down", lambda: daemon.state("b") == "down")
    assert 2 * GIB < estimate(daemon, "b") < 2.2 * GIB
    ready(daemon, "a")
    ready(daemon, "b")
    assert (daemon.state("a"), daemon.state("b")) == ("ready", "ready")


def test_a_stranger_appears(processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus) -> None:
    """Who is worth least leaves when the headroom is gone for some seconds, though nobody waits."""
    fake_gpus.plug(8 * GIB)
    daemon = new_daemon(
        {
            "cheap": service(processes, fake_gpus, claims="2GiB", takes_mib=2048),
            "dear": service(processes, fake_gpus, claims="2GiB", takes_mib=2048, LOAD_MS="900"),
        },
        environment=fake_gpus.environment(),
        headroom="1GiB",
    )
    ready(daemon, "dear")
    ready(daemon, "cheap")
    fake_gpus.hold(STRANGER, {0: 3 * GIB})
    wait_until("one has left", lambda: daemon.state("cheap") == "down")
    assert daemon.state("dear") == "ready"
    assert "GiB free on gpu0" in daemon.service("cheap")["why"]


def test_out_of_memory_then_success(
    processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Who claimed too little is thought larger, all that is idle leaves, and it is tried again."""
    fake_gpus.plug(8 * GIB)
    daemon = new_daemon(
        {
            "a": service(processes, fake_gpus, claims="3GiB", takes_mib=3072, MODEL="a"),
            "b": service(processes, fake_gpus, claims="4GiB", takes_mib=5120, MODEL="b"),
        },
        environment=fake_gpus.environment(),
    )
    ready(daemon, "a")
    ready(daemon, "b")
    assert daemon.state("a") == "down"
    assert daemon.service("b")["failures"] == 0
    assert "which ran out of memory" in daemon.log
    daemon.request("POST", "/api/v1/service/b/stop")
    assert estimate(daemon, "b") > 5 * GIB


def test_a_gpu_that_strangers_fill_for_ever(
    processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """A wait for room that never comes ends, and says who holds it."""
    fake_gpus.plug(8 * GIB)
    fake_gpus.hold(STRANGER, {0: 7 * GIB})
    wanted = service(processes, fake_gpus, claims="3GiB", takes_mib=2048)
    daemon = new_daemon({"a": {**wanted, "wait_s": 3}}, environment=fake_gpus.environment())
    wait_until("the first figures", lambda: bool(measured(daemon, "gpu0")))
    answer = daemon.chat("a")
    assert answer.status_code == 504
    assert "2.5 GiB more needed on gpu0 (others hold 7.5 GiB)" in answer.text


@pytest.mark.parametrize("comes_back", [True, False], ids=["late", "never"])
def test_memory_that_stays_away(
    comes_back: bool, flavour: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Nobody starts into memory that the driver has not given back, however long that takes."""
    fake_gpus.plug(12 * GIB)
    daemon = new_daemon(
        {
            "a": service(
                flavour, fake_gpus, claims="5GiB", takes_mib=5120, MODEL="a", TERM_MS="1500"
            ),
            "b": service(flavour, fake_gpus, claims="9GiB", takes_mib=8192, MODEL="b"),
        },
        environment=fake_gpus.environment(),
        **flavour.server,
    )
    ready(daemon, "a")
    with asked(daemon, "b") as answer:
        wait_until("a is told to end", lambda: daemon.state("a") == "stopping")
        kept = fake_gpus.hold(STRANGER, {0: 5 * GIB})
        wait_until("a is gone", lambda: daemon.state("a") == "verifying")
        assert daemon.state("b") == "reserved"
        if not comes_back:
            wait_until("nobody counts on it", lambda: daemon.state("a") == "down")
            assert daemon.state("b") == "down"
            assert "not all of its memory came back" in daemon.service("a")["why"]
        kept.unlink()
        assert answer().status_code == 200


def test_a_gauge_lost_while_somebody_waits(
    processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Figures that are too old are not trusted: claims alone count then."""
    fake_gpus.plug(8 * GIB)
    fake_gpus.hold(STRANGER, {0: 4 * GIB})
    daemon = new_daemon(
        {"a": service(processes, fake_gpus, claims="5GiB", takes_mib=1024)},
        environment=fake_gpus.environment(),
    )
    wait_until("the first figures", lambda: bool(measured(daemon, "gpu0")))
    with asked(daemon, "a") as answer:
        wait_until("a waits", lambda: daemon.service("a")["waiting"] == 1)
        assert daemon.state("a") == "down"
        fake_gpus.fail("nvmlDeviceGetMemoryInfo", ERROR_GPU_IS_LOST)
        assert answer().status_code == 200
    assert not gauges(daemon)["gpu"]["ok"]


def test_the_gpu_with_room_is_taken(
    flavour: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Of two GPUs that would do by their size, the one is taken that no stranger fills."""
    fake_gpus.plug(8 * GIB, 8 * GIB)
    fake_gpus.hold(STRANGER, {0: 5 * GIB})
    environment = {"VRAM_DEVICES": "1"} if flavour.name == "docker" else {}
    daemon = new_daemon(
        {"a": service(flavour, fake_gpus, claims="4GiB", takes_mib=3072, **environment)},
        environment=fake_gpus.environment(),
        **flavour.server,
    )
    wait_until("the first figures", lambda: bool(measured(daemon, "gpu0")))
    ready(daemon, "a")
    assert vram(daemon, "a") == {"gpu1": 3 * GIB}
