"""Commands speak to the daemon by its API and to scripts by their exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import EVICTED, HEALTH, REFUSED, Daemon, aiproxy, running_daemon

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


def test_status_is_a_table(daemon: Daemon) -> None:
    """One line a service, with what it holds and why it is as it is, free of colours in a pipe."""
    done = aiproxy("status", "--url", daemon.url)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[1].split() == "coder ready 3 gpu0:16 GiB 2 0 1h 05m 1m 15s answers".split()
    assert lines[2].endswith("the GPU was full (again in 8s)")
    assert lines[3].split()[:3] == ["fetched", "pulling", "50%"]
    assert lines[3].endswith("acme/llm:1: Downloading: 1.5 GiB of 3 GiB")
    assert lines[4].split()[:2] == ["unfetched", "down"]
    assert lines[4].endswith("acme/other:1: no such")
    assert lines[7].endswith("17 GiB (1m 30s old)  coder:15 GiB foreign:2 GiB")
    assert lines[8].split()[-3:] == ["GiB", "-", "-"]
    assert "docker cannot be reached: no socket" in done.stdout
    assert "ram is not measured: no answer" in done.stdout
    assert "gpu is not measured" not in done.stdout
    assert "\x1b" not in done.stdout


def test_status_for_programs(daemon: Daemon) -> None:
    """`--json` is what the daemon said; the address may come from the environment."""
    done = aiproxy("status", "--json", AIPROXY_URL=daemon.url)
    assert (done.returncode, json.loads(done.stdout)) == (0, HEALTH)


@pytest.mark.parametrize(
    ("service", "code"), [("coder", 0), ("smart", 0), ("chat", 4), ("nope", 1)]
)
def test_status_of_one(daemon: Daemon, service: str, code: int) -> None:
    """A script can ask whether a service is ready, by any of its names."""
    assert aiproxy("status", service, "--url", daemon.url).returncode == code


@pytest.mark.parametrize(
    ("command", "path", "query", "said"),
    [
        ("start coder", "coder/start", {}, "coder is ready (run 4)\n"),
        ("start coder --no-wait", "coder/start", {"wait": ["false"]}, "coder is ready (run 4)\n"),
        ("stop coder", "coder/stop", {}, "coder is down\n"),
        ("stop coder --force", "coder/stop", {"force": ["true"]}, "coder is down\n"),
        ("restart coder", "coder/restart", {}, "coder is ready (run 4)\n"),
    ],
)
def test_acts(
    daemon: Daemon, command: str, path: str, query: dict[str, list[str]], said: str
) -> None:
    """A verb is one POST, and its answer one line."""
    done = aiproxy(*command.split(), "--url", daemon.url)
    assert daemon.asked == [("POST", f"/api/v1/service/{path}", query)]
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_name_cannot_leave_its_place(daemon: Daemon) -> None:
    """Whatever a service is called, it stays one step of the path."""
    aiproxy("stop", "../x?y", "--url", daemon.url)
    assert daemon.asked == [("POST", "/api/v1/service/..%2Fx%3Fy/stop", {})]


@pytest.mark.parametrize(
    ("service", "code", "said"), [("nope", 1, "did you mean"), ("busy", 4, "no room")]
)
def test_refusals(daemon: Daemon, service: str, code: int, said: str) -> None:
    """The daemon's own words, on standard error."""
    done = aiproxy("start", service, "--url", daemon.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_logs(daemon: Daemon) -> None:
    """Lines pass as they are; what was asked for reaches the daemon."""
    done = aiproxy("logs", "coder", "-f", "--tail", "7", "--url", daemon.url)
    assert (done.returncode, done.stdout) == (0, "one\ntwö\n")
    assert daemon.asked[0][2] == {"tail": ["7"], "follow": ["true"]}


def test_no_daemon() -> None:
    """Nobody there: another exit code, the address, and what to do."""
    done = aiproxy("status", "--url", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert "http://127.0.0.1:1" in done.stderr
    assert "aiproxy serve" in done.stderr


def test_proxies_of_the_environment_are_not_asked(daemon: Daemon) -> None:
    """The daemon is on this machine, whatever leads out of it."""
    lost = "http://127.0.0.1:1"
    done = aiproxy("status", "--url", daemon.url, HTTP_PROXY=lost, ALL_PROXY=lost)
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["stat", "start", "logs x --tail many", "demo --json"])
def test_wrong_usage(command: str) -> None:
    """What cannot be meant is told apart from what failed."""
    done = aiproxy(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aiproxy: ")


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_is_a_port(command: str, port: str) -> None:
    """What can be no port is wrong usage."""
    done = aiproxy(command, "--port", port)
    assert (done.returncode, "--port" in done.stderr) == (2, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example"])
def test_serve_lets_nobody_in_without_a_key(host: str, tmp_path: Path) -> None:
    """No flag leads around the check of the configuration."""
    config = tmp_path / "aiproxy.yaml"
    config.write_text("services: {}\n")
    done = aiproxy("serve", "--config", str(config), "--host", host)
    assert (done.returncode, "there are no keys: add one" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("", "2025-06-15 15:06:40 (XX ago) coder leaves to make room"),
        ("coder", "2025-06-15 15:06:40 (XX ago) coder leaves to make room"),
        ("mine", "Request mine waited 1.5 s for chat, and was refused (queue_timeout)"),
        ("9", "Request mine waited 1.5 s for chat, and was refused (queue_timeout)"),
    ],
)
def test_explains(daemon: Daemon, words: str, first: str) -> None:
    """A service, a request by its id or its ticket, or whatever was last."""
    done = aiproxy("explain", *words.split(), "--url", daemon.url, TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.sub(r"\(.*? ago\)", "(XX ago)", done.stdout).startswith(first)
    assert "request mine: waited too long\n" in done.stdout


def test_explains_to_programs(daemon: Daemon) -> None:
    """As many as asked for, as the daemon has them."""
    done = aiproxy("explain", "--last", "7", "--json", "--url", daemon.url)
    assert daemon.asked == [("GET", "/api/v1/decisions", {"limit": ["7"]})]
    assert json.loads(done.stdout) == {"decisions": [EVICTED, REFUSED]}


def test_what_is_not_known_is_not_explained(daemon: Daemon) -> None:
    """It says what may be the reason."""
    done = aiproxy("explain", "nope", "--url", daemon.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "admitted at once leaves nothing to explain" in done.stderr
