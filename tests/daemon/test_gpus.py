"""GPUs are found, measured and given out, by a whole daemon with real servers on fake GPUs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, Flavour, process_flavour, wait_until
from tests.rig.fake_gpus import ERROR_GPU_IS_LOST, GIB, RESERVED, FakeGpus

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.slow


def measured(daemon: Daemon, device: str) -> dict[str, Any]:
    """Return what is known of a device; nothing while it was not measured."""
    devices = daemon.get("/api/v1/services").json()["devices"]
    return next(one for one in devices if one["id"] == device)["measured"] or {}


def gauges(daemon: Daemon) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = daemon.get("/health?detail=1").json()["gauges"]
    return found


def vram(daemon: Daemon, service: str) -> dict[str, int] | None:
    memory = daemon.get(f"/api/v1/container/{service}").json()["memory"]
    held: dict[str, int] | None = memory["vram"]
    return held


def on_gpus(flavour: Flavour, gpus: FakeGpus, environment: dict[str, str]) -> dict[str, Any]:
    """Make the scripted server a service that sees the fake GPUs."""
    service = flavour.mock({**environment, "FAKE_NVML_DIR": str(gpus.folder)})
    if "container" in service:
        service["container"]["environment"]["VRAM_AS"] = "host"
        service["container"]["volumes"] = [f"{gpus.folder}:{gpus.folder}"]
    return service


def test_a_run_is_known_by_what_it_holds(
    flavour: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Found GPUs are devices; what a run holds there is its own, the rest is foreign."""
    fake_gpus.plug(8 * GIB)
    service = on_gpus(flavour, fake_gpus, {"VRAM_MIB": "2048"})
    daemon = new_daemon(
        {"a": {**service, "memory": {"vram": "3GiB"}}},
        environment=fake_gpus.environment(),
        **flavour.server,
    )
    device = daemon.get("/api/v1/services").json()["devices"][0]
    assert (device["id"], device["capacity"]) == ("gpu0", 8 * GIB)
    foreign = fake_gpus.hold(os.getpid(), {0: GIB})
    assert daemon.chat("a").status_code == 200
    wait_until("the run in the figures", lambda: vram(daemon, "a") == {"gpu0": 2 * GIB})
    figures = measured(daemon, "gpu0")
    assert figures.pop("age_s") < 20
    assert figures == {
        "total": 8 * GIB,
        "used": 3 * GIB + RESERVED,
        "free": 5 * GIB - RESERVED,
        "services": {"a": 2 * GIB},
        "foreign": GIB + RESERVED,
        "stale": False,
    }
    assert gauges(daemon)["gpu"] == {"ok": True, "message": "NVML: gpu0 Fake A (GPU-A)"}
    status = daemon.command("status").stdout
    assert "a:2 GiB foreign:1.5 GiB" in status
    foreign.unlink()
    daemon.request("POST", "/api/v1/service/a/stop")
    wait_until("the memory is back", lambda: measured(daemon, "gpu0")["used"] == RESERVED)
    assert vram(daemon, "a") is None


def test_main_memory_is_measured(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """By run too, and without any GPU."""
    daemon = new_daemon({"a": flavour.mock({"HOG_MIB": "64"})}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    wait_until("the run in the figures", lambda: "a" in measured(daemon, "ram")["services"])
    figures = measured(daemon, "ram")
    assert 64 << 20 <= figures["services"]["a"] < 128 << 20
    assert 0 < figures["foreign"] < figures["used"] < figures["total"]
    assert gauges(daemon)["ram"]["ok"]


@pytest.fixture
def processes(mock_binary: Path) -> Flavour:
    return process_flavour(mock_binary)


def test_processes_see_the_gpu_of_their_placement(
    processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """Two that fit on no one GPU together go on two, each on its own; numbers are by PCI bus."""
    fake_gpus.plug(8 * GIB, 16 * GIB, buses=(7, 3))
    services = {
        name: {
            **on_gpus(processes, fake_gpus, {"VRAM_MIB": "6144", "MODEL": name}),
            "memory": {"vram": claim},
        }
        for name, claim in (("a", "12GiB"), ("b", "6GiB"))
    }
    daemon = new_daemon(services, environment=fake_gpus.environment())
    for name in ("a", "b"):
        assert daemon.chat(name).status_code == 200
    wait_until("both", lambda: bool(vram(daemon, "a") and vram(daemon, "b")))
    assert vram(daemon, "a") == {"gpu0": 6 * GIB}
    assert vram(daemon, "b") == {"gpu1": 6 * GIB}
    assert measured(daemon, "gpu0")["total"] == 16 * GIB


def test_a_gpu_lost_in_mid_flight(
    processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus
) -> None:
    """It is told of with its reason, and the daemon serves on by declared claims."""
    fake_gpus.plug(8 * GIB)
    daemon = new_daemon({"a": processes.mock({})}, environment=fake_gpus.environment())
    wait_until("the first figures", lambda: bool(measured(daemon, "gpu0")))
    fake_gpus.fail("nvmlDeviceGetMemoryInfo", ERROR_GPU_IS_LOST)
    wait_until("the loss is told", lambda: not gauges(daemon)["gpu"]["ok"])
    assert gauges(daemon)["gpu"]["message"].startswith("gpu0: the GPU has fallen off the bus")
    assert daemon.chat("a").status_code == 200
    assert "gpu is not measured: gpu0: the GPU has fallen" in daemon.command("status").stdout
    fake_gpus.mend()
    wait_until("it is back", lambda: gauges(daemon)["gpu"]["ok"])


def test_no_driver(processes: Flavour, new_daemon: NewDaemon, fake_gpus: FakeGpus) -> None:
    """Declared devices work as before, and everyone is told that they are not measured."""
    service = {**processes.mock({}), "memory": {"vram": "3GiB"}}
    environment = fake_gpus.environment()
    daemon = new_daemon({"a": service}, devices={"gpu0": "4GiB"}, environment=environment)
    assert daemon.chat("a").status_code == 200
    wait_until("the gauge was asked", lambda: "not asked" not in gauges(daemon)["gpu"]["message"])
    said = "the NVIDIA driver is not loaded (`dmesg` tells more): declared claims only"
    assert gauges(daemon)["gpu"] == {"ok": False, "message": said}
    assert measured(daemon, "gpu0") == {}
    assert vram(daemon, "a") is None
    assert f"gpu is not measured: {said}" in daemon.command("status").stdout
