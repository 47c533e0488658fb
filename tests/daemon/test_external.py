"""Servers elsewhere stand behind the same endpoint, whoever starts them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from proxyserver.runtime._ports import free_port
from tests.daemon.rig import Daemon, events, wait_until
from tests.rig.peer import peer

NewDaemon = Callable[..., Daemon]
KEY = "Bearer sesame-4711"


def test_a_peer_behind_tls(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """It is asked under its own path, with its own key in place of the client's."""
    with peer(tmp_path, key=KEY) as there:
        external = {
            "url": there.url,
            "health": "/health",
            "authorization": "${env:PEER_KEY}",
            "ca": str(there.ca),
        }
        daemon = new_daemon({"cloud": {"external": external}}, environment={"PEER_KEY": KEY})
        mine = {"Authorization": "Bearer mine", "X-Api-Key": "mine"}
        answer = daemon.chat("cloud", headers=mine)
        assert (answer.status_code, answer.json()["model"]) == (200, "cloud")
        with daemon.stream("cloud") as answer:
            assert list(events(answer)) == ["one", "[DONE]"]
        assert there.paths == ["/api/v1/chat/completions"] * 2
        head = there.heads[0]
        assert (head["Authorization"], "mine" in str(head)) == (KEY, False)
        told = daemon.service("cloud")
        assert (told["runtime"], told["state"], told["pinned"]) == ("external", "ready", True)
        assert (told["placement"], told["idle_in_s"]) == ({}, None)
        kept = "".join(path.read_text() for path in (daemon.folder / "state").rglob("*.json"))
        assert (KEY in daemon.log + kept, "cloud" in kept) == (False, True)


@pytest.mark.parametrize(
    ("name", "trusted", "said"),
    [
        ("127.0.0.1", False, "its certificate is not good: self"),
        ("127.0.0.2", True, "its certificate is not good: IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_good(
    new_daemon: NewDaemon, tmp_path: Path, name: str, trusted: bool, said: str
) -> None:
    """Nothing is sent to it, and the cause is told at once."""
    with peer(tmp_path, name=name) as there:
        external = {"url": there.url, "authorization": KEY}
        external |= {"ca": str(there.ca)} if trusted else {}
        daemon = new_daemon({"cloud": {"external": external}})
        answer = daemon.chat("cloud")
        assert answer.status_code == 503
        assert said in answer.json()["error"]["message"]
        assert (there.heads, daemon.service("cloud")["cause"]["kind"]) == ([], "server_unreachable")


def test_nobody_is_there(new_daemon: NewDaemon) -> None:
    """A request is refused at once, with the reason."""
    port = free_port()
    daemon = new_daemon({"a": {"external": {"url": f"http://127.0.0.1:{port}"}}})
    answer = daemon.chat("a")
    assert answer.status_code == 503
    assert f"127.0.0.1:{port} cannot be reached" in answer.json()["error"]["message"]


def test_a_peer_that_falls_ill_is_noticed(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """By its health, which is asked now and then."""
    with peer(tmp_path) as there:
        external = {"url": there.url, "health": "/health", "ca": str(there.ca)}
        live = {"path": "/health", "every_s": 0.05}
        daemon = new_daemon({"cloud": {"external": external, "live": live}})
        assert daemon.chat("cloud").status_code == 200
        there.well = False
        wait_until("that it is ill", lambda: daemon.state("cloud") != "ready")
        there.well = True
        assert daemon.chat("cloud").status_code == 200


def test_a_server_behind_a_socket(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """Probed, asked and streamed from like any other; that nobody is there is told."""
    path = tmp_path / "it.sock"
    daemon = new_daemon({"near": {"external": {"socket": str(path), "health": "/health"}}})
    refused = daemon.chat("near")
    assert f"unix:{path} cannot be reached" in refused.json()["error"]["message"]
    with peer(tmp_path, socket=path) as there:
        wait_until("that it is found", lambda: daemon.chat("near").status_code == 200)
        with daemon.stream("near") as answer:
            assert list(events(answer)) == ["one", "[DONE]"]
        assert there.heads[0]["Host"] == "localhost"


@pytest.mark.mock_binary
def test_commands_start_and_stop_it(
    new_daemon: NewDaemon, tmp_path: Path, mock_binary: Path
) -> None:
    """On demand, when idle, and over a death of the daemon."""
    port, pid_file = free_port(), tmp_path / "pid"
    environment = f"HOST=127.0.0.1 PORT={port}"
    start = f"echo going; {environment} setsid {mock_binary} >/dev/null 2>&1 & echo $! > {pid_file}"
    stop = f"kill $(cat {pid_file}) && rm {pid_file}"
    external = {
        "url": f"http://127.0.0.1:{port}",
        "health": "/health",
        "start": ["sh", "-c", start],
        "stop": ["sh", "-c", stop],
    }
    daemon = new_daemon({"a": {"external": external, "memory": {"ram": "1GiB"}}})
    try:
        assert not pid_file.exists()
        assert daemon.chat("a").status_code == 200
        assert daemon.service("a")["placement"] == {"ram": 1 << 30}
        run = daemon.service("a")["run"]
        assert daemon.command("logs", "a").stdout == "going\n"
        daemon.kill()
        daemon.start()
        assert (daemon.service("a")["run"], daemon.state("a")) == (run, "ready")
        assert daemon.command("stop", "a").returncode == 0
        assert not pid_file.exists()
        assert daemon.chat("a").status_code == 200
    finally:
        daemon.remove()
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
            pytest.fail("the end of the daemon left it running")


def test_a_start_that_fails_says_why(new_daemon: NewDaemon) -> None:
    """With the command's last words."""
    external = {"url": "http://127.0.0.1:9", "start": ["sh", "-c", "echo no such host; exit 3"]}
    daemon = new_daemon({"a": {"external": external}})
    message = daemon.chat("a").json()["error"]["message"]
    assert "ended with 3: no such host" in message
