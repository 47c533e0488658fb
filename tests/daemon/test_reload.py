"""A daemon whose configuration changes while it serves."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.daemon.rig import Daemon, process_flavour, question, wait_until

NewDaemon = Callable[..., Daemon]
STREAMS = 50
RELOADS = 100
pytestmark = pytest.mark.mock_binary


def write(daemon: Daemon) -> None:
    """Put the configuration where the daemon reads it, as editors do."""
    fresh = daemon.folder / "fresh"
    fresh.write_text(yaml.safe_dump(daemon.configuration))
    fresh.rename(daemon.folder / "aiproxy.yaml")


def post(daemon: Daemon, path: str, body: str = "") -> bytes:
    """Return the whole of an answer; one that breaks off is none."""
    parts = urlsplit(daemon.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60.0)
    with closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content


def standing(daemon: Daemon) -> Any:
    return daemon.get("/api/v1/config").json()


@pytest.mark.slow
def test_streams_of_who_does_not_change_lose_nothing(
    mock_binary: Path, new_daemon: NewDaemon
) -> None:
    """Through a hundred reloads: others come, go, restart and change meanwhile, some while used."""
    mock = process_flavour(mock_binary).mock
    steady = mock({"TOKENS": "20", "TOKEN_MS": "100"})
    daemon = new_daemon({"steady": steady, "other": mock({})})
    texts: list[bytes] = []
    body = json.dumps(question("steady", stream=True, max_tokens=20))
    enough = threading.Event()

    def stream() -> None:
        while not enough.is_set():
            texts.append(post(daemon, "/v1/chat/completions", body))

    streams = [threading.Thread(target=stream) for _ in range(STREAMS)]
    for one in streams:
        one.start()
    wait_until("the streams", lambda: bool(daemon.service("steady")["in_flight"] == STREAMS))
    run = daemon.service("steady")["run"]
    for number in range(RELOADS):
        services = {"steady": steady, f"new{number}": mock({}) | {"idle_s": number + 1}}
        if number % 5:
            services["other"] = mock({"GENERATION": str(number)})
        daemon.configuration["services"] = services
        write(daemon)
        assert b"steady" not in post(daemon, "/api/v1/config/reload")
        if number % 10 in (1, 4):  # After the latter it is taken out while it runs.
            assert daemon.chat("other").status_code == 200
    enough.set()
    for one in streams:
        one.join()
    assert len(texts) >= 2 * STREAMS
    assert {text.count(b'"content"') for text in texts} == {20}
    assert all(text.endswith(b"data: [DONE]\n\n") for text in texts)
    assert daemon.service("steady")["run"] == run
    there = [one["id"] for one in daemon.get("/api/v1/services").json()["services"]]
    assert sorted(there) == ["new99", "other", "steady"]


def test_a_bad_file_is_told_until_it_is_good(mock_binary: Path, new_daemon: NewDaemon) -> None:
    """By the log, the API and the commands; what is in force stays, and no secret is told."""
    mock = process_flavour(mock_binary).mock
    daemon = new_daemon({"a": mock({})}, environment={"TOKEN": "hunter22"})
    good = daemon.configuration["services"]["a"]
    daemon.configuration["services"]["a"] = good | {"idle_s": "${env:TOKEN}"}
    write(daemon)
    wait_until("that it is refused", lambda: bool(standing(daemon)["problems"]))
    status = daemon.command("status")
    assert (status.returncode, daemon.chat("a").status_code) == (0, 200)
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until("a reload", lambda: "configuration refused (SIGHUP)" in daemon.log)
    reload = daemon.command("config", "reload")
    machine = daemon.command("config", "reload", "--json")
    assert (reload.returncode, reload.stdout, machine.returncode) == (1, "", 1)
    assert json.loads(machine.stdout)["problems"] == standing(daemon)["problems"]
    for said in (status.stdout, reload.stderr, daemon.log):
        assert "services.a.idle_s: expected" in said
        assert "${env:TOKEN}" in said
        assert "hunter22" not in said

    daemon.configuration["services"]["a"] = good | mock({"API_KEY": "hunter22"})
    write(daemon)
    wait_until("that it is good", lambda: not standing(daemon)["problems"])
    assert "configuration was refused" not in daemon.command("status").stdout
    assert daemon.command("config", "diff").stdout == "nothing would change\n"
    assert "hunter22" not in daemon.log


def test_what_a_reload_would_do_is_told_before(mock_binary: Path, new_daemon: NewDaemon) -> None:
    """For another file, service by service; nothing is done, and the exit code says if it would."""
    mock = process_flavour(mock_binary).mock
    daemon = new_daemon({"a": mock({}), "b": mock({}), "c": mock({}), "d": mock({})})
    configuration = daemon.configuration
    services = {
        "a": mock({}) | {"idle_s": 9},
        "b": mock({"X": "1"}),
        "c": mock({}) | {"ready": {"path": "/health"}},
        "e": mock({}),
    }
    server = configuration["server"] | {"log": {"level": "DEBUG"}, "state_dir": "/elsewhere"}
    server["ram"] = "3GiB"
    file = daemon.folder / "next.yaml"
    file.write_text(yaml.safe_dump({"server": server, "services": services}))
    told = daemon.command("config", "diff", str(file))
    assert told.returncode == 5, told.stderr
    assert told.stdout.splitlines() == [
        "e: added",
        "d: removed",
        "b: restarts: process.environment",
        "a: changes at once: idle_s",
        "c: changes at its next start: ready",
        "server: changes at once: log.level, ram",
        "server: needs a restart of the daemon: state_dir",
    ]
    as_json = json.loads(daemon.command("config", "diff", "--json", str(file)).stdout)
    assert as_json["restarts"] == {"b": ["process.environment"]}
    assert daemon.command("config", "diff").returncode == 0
    file.rename(daemon.folder / "aiproxy.yaml")
    assert json.loads(post(daemon, "/api/v1/config/reload")) == as_json
    again = daemon.command("config", "reload")
    assert (again.returncode, again.stdout) == (0, told.stdout.splitlines(keepends=True)[-1])
    needs = "needs a restart of the daemon: server.state_dir"
    assert needs in daemon.command("status").stdout
    daemon.request("GET", "/health")
    assert "DEBUG" in daemon.log, "the level of the log has changed"
    (ram,) = daemon.get("/api/v1/services").json()["devices"]
    assert (ram["capacity"], ram["measured"]["stale"]) == (3 << 30, False)
    bad = daemon.folder / "bad.yaml"
    bad.write_text("services: {a: 1}")
    refused = daemon.command("config", "diff", str(bad))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "aiproxy.yaml:1:15: services.a: expected a mapping" in refused.stderr


def test_a_hang_up_reloads_until_the_terminal_is_gone(mock_binary: Path, tmp_path: Path) -> None:
    """In a terminal the signal means what it means elsewhere; closing that ends all, in order."""
    file = tmp_path / "aiproxy.yaml"
    server = {"port": 0, "state_dir": str(tmp_path / "state")}
    services = {"a": process_flavour(mock_binary).mock({})}
    file.write_text(yaml.safe_dump({"server": server, "services": services}))
    command = [sys.executable, "-m", "proxyserver", "serve", "--config", str(file)]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, command)
    said = ""

    def wait_said(what: str) -> str:
        nonlocal said
        while not (found := re.search(what, said)):
            said += os.read(terminal, 4096).decode()
        return found[1]

    url = wait_said(r"listening on (http://[\d.:]+)")
    assert httpx.post(f"{url}/api/v1/service/a/start").status_code == 200
    pid = httpx.get(f"{url}/api/v1/container/a").json()["pid"]
    os.kill(child, signal.SIGHUP)
    wait_said(r"read again (\(SIGHUP\)): unchanged")
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not Path(f"/proc/{pid}").exists()


def test_without_a_daemon_it_is_said() -> None:
    """There is nothing to compare with, and nobody to reload."""
    for command in ("diff", "reload"):
        done = subprocess.run(
            [sys.executable, "-m", "proxyserver", "config", command, "--url", "http://127.0.0.1:9"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert "no daemon at http://127.0.0.1:9" in done.stderr
