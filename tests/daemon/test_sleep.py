"""A server that can sleep gives its memory to others, and serves on when it is woken."""

import os
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, Flavour, process_flavour, wait_until

NewDaemon = Callable[..., Daemon]
HALF = {"ram": "1200MiB"}
"""Two such services do not fit together."""
CALLS = {"sleep": {"path": "/mock/sleep"}, "wake": {"path": "/mock/wake"}, "wake_s": 0.01}


def sleeper(flavour: Flavour) -> dict[str, Any]:
    """Return a service that loads for a while, and holds nothing while it sleeps."""
    return {**flavour.mock({"MODEL": "a", "LOAD_MS": "300"}), "memory": HALF, **CALLS}


def run_of(daemon: Daemon, name: str) -> int | None:
    run: int | None = daemon.service(name)["run"]
    return run


def sleep(daemon: Daemon, name: str) -> httpx.Response:
    return httpx.post(f"{daemon.url}/api/v1/service/{name}/sleep", timeout=20.0)


def test_who_can_sleep_is_not_stopped(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """Its run makes room for another and serves again, without a second load."""
    other = {**flavour.mock({"MODEL": "b"}), "memory": HALF}
    daemon = new_daemon({"a": sleeper(flavour), "b": other}, **flavour.server)
    assert daemon.chat("a").json()["model"] == "a"
    run = run_of(daemon, "a")
    assert daemon.chat("b").json()["model"] == "b"
    assert daemon.state("a") == "asleep"
    assert daemon.chat("a").json()["model"] == "a"
    assert run_of(daemon, "a") == run


def test_sleep_by_hand(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """Who asks is told when it sleeps; whoever wants it wakes it."""
    daemon = new_daemon({"a": sleeper(flavour)}, **flavour.server)
    assert sleep(daemon, "a").json()["error"]["code"] == "cannot_sleep"
    daemon.chat("a")
    answer = sleep(daemon, "a")
    assert (answer.status_code, answer.json()["state"]) == (200, "asleep")
    assert daemon.chat("a").status_code == 200


def test_its_metrics_do_not_wake_it(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """They are told while it is awake, and nobody asks it for them while it sleeps."""
    service = {**sleeper(flavour), "metrics": "/mock/echo"}
    daemon = new_daemon({"a": service}, **flavour.server)
    assert daemon.get("/api/v1/service/a/metrics").status_code == 409
    assert daemon.state("a") == "down"
    daemon.chat("a")
    assert daemon.get("/api/v1/service/a/metrics").text.startswith("GET /mock/echo HTTP/1.1")
    up = "aiproxy_service_metrics_up{"
    assert f'{up}service="a"}} 0.0' in daemon.get("/metrics/services").text, "no text of Prometheus"
    sleep(daemon, "a")
    assert daemon.get("/api/v1/service/a/metrics").json()["error"]["code"] == "no_metrics"
    wait_until("another answer", lambda: up not in daemon.get("/metrics/services").text)
    assert daemon.state("a") == "asleep"


@pytest.fixture
def processes(mock_binary: Any) -> Flavour:
    return process_flavour(mock_binary)


def test_who_is_killed_asleep_starts_again(processes: Flavour, new_daemon: NewDaemon) -> None:
    """For the next who wants it."""
    daemon = new_daemon({"a": sleeper(processes)}, **processes.server)
    daemon.chat("a")
    run = run_of(daemon, "a")
    sleep(daemon, "a")
    shown = httpx.get(f"{daemon.url}/api/v1/container/a", timeout=20.0).json()
    os.kill(shown["pid"], signal.SIGKILL)
    wait_until("its end", lambda: daemon.state("a") == "down")
    assert daemon.chat("a").status_code == 200
    assert run_of(daemon, "a") != run


def test_who_sleeps_is_adopted_asleep(flavour: Flavour, new_daemon: NewDaemon) -> None:
    """A daemon that is killed leaves sleepers asleep; the next one knows, and wakes them."""
    daemon = new_daemon({"a": sleeper(flavour)}, **flavour.server)
    daemon.chat("a")
    run = run_of(daemon, "a")
    sleep(daemon, "a")
    daemon.kill()
    daemon.start()
    assert (daemon.state("a"), run_of(daemon, "a")) == ("asleep", run)
    assert daemon.chat("a").status_code == 200
    assert run_of(daemon, "a") == run
    daemon.kill()
    daemon.start()
    assert (daemon.state("a"), run_of(daemon, "a")) == ("ready", run)


def test_who_was_about_to_sleep_starts_afresh(processes: Flavour, new_daemon: NewDaemon) -> None:
    """Nobody can tell whether it does, and to serve by it might hang for ever."""
    daemon = new_daemon({"a": sleeper(processes)}, **processes.server)
    daemon.chat("a")
    run = run_of(daemon, "a")
    daemon.kill()
    (daemon.folder / "state" / "sleepers.json").write_text(f'{{"{run}": false}}')
    daemon.start()
    assert daemon.state("a") == "down"
    daemon.kill()
    (daemon.folder / "state" / "sleepers.json").write_text("neither")
    daemon.start()
    assert daemon.chat("a").status_code == 200
