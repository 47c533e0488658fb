"""A daemon fetches the images of its services from a registry, when they are wanted."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemon import aiproxy
from tests.rig.engine import Engine
from tests.rig.mock import MOCK_PORT
from tests.rig.registry import Registry, noise, registry

from .rig import Daemon, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def program(mock_binary: Path) -> bytes:
    """The scripted server, as a program that no engine has yet: what follows it is not read."""
    return mock_binary.read_bytes() + noise(1_000_000)


def services(source: Registry, pull: str = "missing") -> dict[str, Any]:
    container = {"image": source.image, "port": MOCK_PORT}
    return {name: {"container": container, "pull": pull} for name in ("chat", "coder")}


def test_a_request_fetches_the_image_and_is_answered(
    new_daemon: Callable[..., Daemon], engine: Engine, program: bytes
) -> None:
    """Two services share one pull; how far it is shows everywhere."""
    with registry(program, hold=True) as source:
        daemon = new_daemon(services(source), docker={"host": engine.host})
        assert source.asked == [], "nothing is fetched that nobody wants"
        answers: dict[str, int] = {}

        def chat(name: str) -> None:
            answers[name] = daemon.chat(name).status_code

        threads = [threading.Thread(target=chat, args=(name,)) for name in ("chat", "coder")]
        for thread in threads:
            thread.start()
        wait_until("bytes", lambda: bool((daemon.service("chat")["pull"] or {}).get("total")))
        wait_until("both wait", lambda: daemon.service("coder")["waiting"] == 1)
        shown = daemon.service("chat")
        assert (shown["state"], shown["waiting"]) == ("down", 1)
        assert shown["pull"]["state"] == "pulling"
        assert "pulling" in daemon.command("status").stdout
        with daemon.following("/api/v1/service/coder/pull") as told:
            assert json.loads(next(told))["image"] == source.image
            source.go_on.set()
            assert json.loads(list(told)[-1])["state"] == "done"
        for thread in threads:
            thread.join()
    assert answers == {"chat": 200, "coder": 200}
    assert source.layers_sent == 1
    assert f"pulled {source.image}" in daemon.log
    assert daemon.service("chat")["pull"] is None


def test_a_pull_that_fails_is_told_everywhere(
    new_daemon: Callable[..., Daemon], engine: Engine
) -> None:
    """To whoever asked, in the status, in the API and in the log."""
    with registry(noise(1000), password="secret") as source:
        daemon = new_daemon(services(source), docker={"host": engine.host})
        answer = daemon.chat("chat")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "service_failed")
        assert "docker login" in error["message"]
        assert answer.headers["retry-after"] == "30"
    assert daemon.service("chat")["pull"]["cause"]["kind"] == "registry_login"
    assert "docker login" in daemon.command("status").stdout
    assert f"{source.image} was not pulled" in daemon.log


def test_a_pull_is_cancelled_by_stopping_the_service(
    new_daemon: Callable[..., Daemon], engine: Engine
) -> None:
    """Whoever waits is told, and the daemon ends without waiting for a registry."""
    with registry(noise(1_000_000), hold=True) as source:
        daemon = new_daemon(services(source), docker={"host": engine.host})
        answers: list[str] = []

        def ask(path: str) -> None:
            answers.append(daemon.request("POST", path).json()["error"]["code"])

        def is_pulling() -> bool:
            return (daemon.service("chat")["pull"] or {}).get("state") == "pulling"

        for path, stop in (
            ("/service/chat/x", lambda: daemon.command("stop", "chat")),
            # By hand, since the last pull has just failed.
            ("/api/v1/service/chat/start", daemon.stop),
        ):
            thread = threading.Thread(target=ask, args=(path,))
            thread.start()
            wait_until("the pull", is_pulling)
            stop()
            thread.join()
    assert answers == ["service_stopped", "service_failed"]


def test_a_service_that_says_never_is_told_of_before_it_starts(
    engine: Engine, tmp_path: Path
) -> None:
    """The other needs nothing to be here."""
    with registry(b"x") as source:
        said = services(source)
        said["coder"]["pull"] = "never"
        file = tmp_path / "aiproxy.yaml"
        server = {"docker": {"host": engine.host}, "ram": "1GiB"}
        file.write_text(json.dumps({"server": server, "services": said}))
        done = aiproxy("config", "check", str(file))
    assert (done.returncode, done.stderr.count("is not here")) == (1, 1)
    assert "services.coder.container.image" in done.stderr
