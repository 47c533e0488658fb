"""`status --watch`, `top` and `ps`: what runs, as it changes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .daemon import CHAT, CODER, HEALTH, RUN_S, Daemon, aiproxy, clean, running_daemon
from .terminal import at_terminal

pytestmark = pytest.mark.slow  # Each starts a Python of its own.
BUSIER = HEALTH | {"services": [CODER | {"in_flight": 3, "for_s": 80.0}, CHAT]}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command with a pipe for its output; it is interrupted at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxyserver", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean(os.environ),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(RUN_S) == 130
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def words(process: subprocess.Popen[str]) -> list[str]:
    """Return the words of the next line, less its time of day."""
    assert process.stdout is not None
    return process.stdout.readline().split()[1:]


def test_changes_are_lines(daemon: Daemon) -> None:
    """Without a terminal: all services once, then those that have changed in more than time."""
    command = ("status", "--watch", "--every", "0.1", "--url", daemon.url)
    with watching(*command) as process:
        first = [words(process) for _ in range(4)]
        assert [line[:2] for line in first] == [
            ["coder", "ready"],
            ["chat", "backoff"],
            ["fetched", "pulling"],
            ["unfetched", "down"],
        ]
        daemon.health = BUSIER
        assert (
            words(process) == "coder ready run 3 gpu0:16 GiB 3 in flight 0 waiting answers".split()
        )


def test_one_service_is_watched(daemon: Daemon) -> None:
    """By any of its names; and one that is not there is told at once."""
    with watching("status", "smart", "-w", "--every", "0.1", "--url", daemon.url) as process:
        assert words(process)[:2] == ["coder", "ready"]
        daemon.health = BUSIER
        assert words(process)[:2] == ["coder", "ready"]
    done = aiproxy("status", "nope", "--watch", "--url", daemon.url)
    assert (done.returncode, done.stdout) == (1, "")
    lost = aiproxy("status", "--watch", "--url", "http://127.0.0.1:1")
    assert (lost.returncode, lost.stdout) == (3, "")


def test_looks_are_documents(daemon: Daemon) -> None:
    """For programs: a line of JSON each time."""
    with watching("status", "--watch", "--json", "--every", "0.1", "--url", daemon.url) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == HEALTH
        assert json.loads(process.stdout.readline()) == HEALTH


def test_top_is_a_picture_that_changes() -> None:
    """On a terminal; a daemon that goes away is told, and the last picture stays."""
    with (
        running_daemon() as daemon,
        at_terminal("top", "--every", "0.1", "--url", daemon.url, LINES="40") as terminal,
    ):
        terminal.wait_for("gpu1")
        daemon.health = BUSIER | {"version": "9.9"}
        terminal.wait_for("aiproxy 9.9: degraded")
        daemon.stop()
        terminal.wait_for("no daemon at")
        assert "coder" in terminal.wait_for("no daemon at")
        terminal.interrupt()
        assert terminal.end() == 130
    # The cursor is back, and so is what the terminal showed before.
    assert terminal.shown.endswith("\x1b[?25h\x1b[?1049l")


def test_ps(daemon: Daemon) -> None:
    """Only what runs."""
    done = aiproxy("ps", "--url", daemon.url)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["SERVICE", "coder"]
    assert json.loads(aiproxy("ps", "--json", "--url", daemon.url).stdout) == {"services": [CODER]}


@pytest.mark.parametrize("every", ["0", "nan", "x"])
def test_no_hurry(every: str) -> None:
    """Looks have a time between them."""
    assert aiproxy("top", "--every", every).returncode == 2


def test_status_tells_the_schedules_in_force(daemon: Daemon) -> None:
    """Else nobody understands why services stop sooner than their configuration says."""
    schedules = ["22:00-07:00 (idle_s 60 s for all)"]
    usual: dict[str, Any] = daemon.health["configuration"]
    daemon.health = HEALTH | {"configuration": usual | {"schedules": schedules}}
    said = aiproxy("status", "--url", daemon.url).stdout
    assert "schedules in force: 22:00-07:00 (idle_s 60 s for all)\n" in said
