"""What survives the daemon, what does not, and what is none of its business."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import docker
import httpx
import pytest

from tests.daemon.rig import (
    Daemon,
    Flavour,
    docker_flavour,
    events,
    process_flavour,
    text_of,
    wait_until,
)
from tests.rig.engine import Engine
from tests.rig.mock import MOCK_IMAGE

NewDaemon = Callable[..., Daemon]


def _has_said(daemon: Daemon, words: str) -> bool:
    return words in daemon.log


def test_after_a_crash_what_runs_is_adopted(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    before = daemon.get("/api/v1/container/a").json()
    daemon.kill()
    daemon.start()
    assert daemon.state("a") == "ready"
    after = daemon.get("/api/v1/container/a").json()
    assert (after["run"], after["pid"]) == (before["run"], before["pid"])
    assert daemon.chat("a").status_code == 200
    assert daemon.command("stop", "a").returncode == 0
    assert daemon.state("a") == "down"


def test_after_a_crash_what_changed_is_replaced(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({"MODEL": "old"})}, **flavour.server)
    assert daemon.chat("a").json()["model"] == "old"
    daemon.kill()
    daemon.configuration["services"]["a"] = flavour.mock({"MODEL": "new"})
    daemon.start()
    assert daemon.state("a") == "down"
    assert daemon.chat("a").json()["model"] == "new"


def test_an_end_by_signal_lets_the_stream_finish_and_leaves_nothing(
    flavour: Flavour, new_daemon: NewDaemon
) -> None:
    daemon = new_daemon({"a": flavour.mock({"TOKENS": "10", "TOKEN_MS": "50"})}, **flavour.server)
    with daemon.stream("a") as answer:
        chunks = events(answer)
        first = next(chunks)
        pid = daemon.get("/api/v1/container/a").json()["pid"]
        daemon.ask_to_stop()
        rest = list(chunks)
    assert rest[-1] == "[DONE]"
    assert len(text_of(iter([first, *rest])).split()) >= 8
    assert daemon.wait() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_second_signal_cuts_the_stream_and_leaves_nothing(
    flavour: Flavour, new_daemon: NewDaemon
) -> None:
    daemon = new_daemon({"a": flavour.mock({"TOKENS": "500", "TOKEN_MS": "50"})}, **flavour.server)
    with daemon.stream("a") as answer:
        chunks = events(answer)
        next(chunks)
        pid = daemon.get("/api/v1/container/a").json()["pid"]
        daemon.ask_to_stop(signal.SIGINT)
        wait_until("the first signal", partial(_has_said, daemon, "finishing what runs"))
        daemon.ask_to_stop(signal.SIGINT)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert daemon.wait() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_third_signal_ends_at_once_and_leaves_the_rest_to_the_next_life(
    mock_binary: Path, new_daemon: NewDaemon
) -> None:
    flavour = process_flavour(mock_binary)
    daemon = new_daemon({"a": {**flavour.mock({"IGNORE_TERM": "1"}), "grace_s": 60}})
    assert daemon.chat("a").status_code == 200
    pid = daemon.get("/api/v1/container/a").json()["pid"]
    for words in ("finishing what runs", "cutting what runs", "ending at once"):
        daemon.ask_to_stop(signal.SIGINT)
        wait_until("the signal", partial(_has_said, daemon, words))
    assert daemon.wait() == 0
    assert Path(f"/proc/{pid}").exists()


def test_services_may_be_left_to_the_next_life(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({})}, on_shutdown="leave", **flavour.server)
    daemon.chat("a")
    pid = daemon.get("/api/v1/container/a").json()["pid"]
    assert daemon.stop() == 0
    assert Path(f"/proc/{pid}").exists()
    daemon.start()
    assert daemon.get("/api/v1/container/a").json()["pid"] == pid


def test_a_stranger_is_never_touched(mock_binary: Path, new_daemon: NewDaemon) -> None:
    stranger = subprocess.Popen([mock_binary], env={"HOST": "127.0.0.1", "PORT": "0"})
    try:
        daemon = new_daemon(
            {"a": {"process": {"command": [str(mock_binary)], "environment": {"PORT": "${PORT}"}}}}
        )
        daemon.chat("a")
        daemon.kill()
        daemon.start()
        daemon.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.engine
def test_a_strangers_container_is_never_touched(
    engine: Engine, mock_image: str, new_daemon: NewDaemon
) -> None:
    client = docker.DockerClient(base_url=engine.host)
    theirs = client.containers.create(MOCK_IMAGE, labels={"aiproxy.managed": "1"})
    try:
        theirs.start()
        flavour = docker_flavour(engine.host)
        daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
        daemon.chat("a")
        daemon.kill()
        daemon.start()
        daemon.stop()
        theirs.reload()
        assert theirs.status == "running"
    finally:
        theirs.remove(force=True)
        client.close()


@pytest.mark.engine
def test_what_no_service_uses_any_more_is_removed(
    engine: Engine, mock_image: str, mock_binary: Path, new_daemon: NewDaemon
) -> None:
    """Also when the whole engine is used no more."""
    flavour = docker_flavour(engine.host)
    daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    pid = daemon.get("/api/v1/container/a").json()["pid"]
    daemon.kill()
    daemon.configuration["services"] = {"b": process_flavour(mock_binary).mock({})}
    daemon.start()
    assert not Path(f"/proc/{pid}").exists()
    assert list(daemon.get("/health?detail=1").json()["runtimes"]) == ["process"]


@pytest.mark.engine
def test_the_daemon_outlives_its_engine(
    engine: Engine, mock_image: str, new_daemon: NewDaemon
) -> None:
    flavour = docker_flavour(engine.host)
    engine.kill()
    try:
        daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
        answer = daemon.chat("a")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "runtime_unavailable"
        assert "cannot be reached" in daemon.command("status").stdout
        assert daemon.get("/health?detail=1").json()["runtimes"]["docker"]["ok"] is False
    finally:
        engine.start()
    wait_until(
        "the engine, from the daemon's side",
        lambda: bool(daemon.get("/health?detail=1").json()["runtimes"]["docker"]["ok"]),
    )
    assert daemon.chat("a").status_code == 200


def test_one_folder_has_one_daemon(mock_binary: Path, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": {"process": {"command": [str(mock_binary)]}}})
    second = daemon.command("serve", "--config", str(daemon.folder / "aiproxy.yaml"))
    assert second.returncode == 1
    assert "another daemon" in second.stderr


def test_who_waits_is_told_when_the_daemon_ends(mock_binary: Path, new_daemon: NewDaemon) -> None:
    service = {
        "process": {
            "command": [str(mock_binary)],
            "environment": {"HOST": "127.0.0.1", "PORT": "${PORT}", "LOAD_MS": "60000"},
        }
    }
    daemon = new_daemon({"a": service})
    statuses: list[int] = []
    waiting = threading.Thread(target=lambda: statuses.append(daemon.chat("a").status_code))
    waiting.start()
    wait_until("the wait", lambda: daemon.service("a")["waiting"] == 1)
    began_at = time.monotonic()
    assert daemon.stop() == 0
    waiting.join()
    assert statuses == [503]
    assert time.monotonic() - began_at < 10
