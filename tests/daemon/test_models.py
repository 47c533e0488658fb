"""Models inside a server are loaded, unloaded and told of like services, through a real daemon."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, wait_until

NewDaemon = Callable[..., Daemon]
ROUTER = Path(__file__).parents[1] / "rig/router.py"
HALF = {"ram": "1200MiB"}
"""Two such models do not fit together."""


@pytest.fixture
def router(tmp_path: Path) -> dict[str, Any]:
    """A service with a folder of five models, two of which are as they should be."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("small", "large", "broken", "stubborn", "held"):
        (folder / f"{name}.gguf").touch()
    return {
        "type": "llamacpp-router",
        "models_dir": str(folder),
        "gpu_layers": 0,
        "grace_s": 0.5,
        "process": {"command": [sys.executable, str(ROUTER), "${PORT}", str(folder)]},
        "models": [
            {"name": "small", "aliases": ["tiny"], "memory": HALF},
            {"name": "large", "memory": HALF},
            {"name": "broken"},
            {"name": "stubborn"},
            {"name": "held"},
        ],
    }


@pytest.mark.parametrize("name", ["router/small", "small", "tiny"])
def test_a_model_is_loaded_for_a_request(
    router: dict[str, Any], new_daemon: NewDaemon, name: str
) -> None:
    """By each of its names; its server is told its own name for it."""
    daemon = new_daemon({"router": router})
    answer = daemon.chat(name)
    assert (answer.status_code, answer.json()["model"]) == (200, "small")
    assert (daemon.state("router"), daemon.state("router/small")) == ("ready", "ready")
    assert daemon.state("router/large") == "down"


def test_models_take_turns(router: dict[str, Any], new_daemon: NewDaemon) -> None:
    """An idle one is unloaded for room, its server stays, and other services know nothing of it."""
    daemon = new_daemon({"router": router})
    pids = set()
    for name, other in (("small", "large"), ("large", "small"), ("small", "large")):
        assert daemon.chat(name).json()["model"] == name
        assert daemon.state(f"router/{other}") == "down"
        pids.add(daemon.get("/api/v1/container/router").json()["pid"])
    assert len(pids) == 1


def test_one_model_at_a_time(router: dict[str, Any], new_daemon: NewDaemon) -> None:
    """By number, though there is memory for both."""
    models = [{"name": "small"}, {"name": "large"}]
    daemon = new_daemon({"router": {**router, "models": models, "models_max": 1}})
    for name, other in (("small", "large"), ("large", "small")):
        assert daemon.chat(name).json()["model"] == name
        assert daemon.state(f"router/{other}") == "down"


def test_a_load_that_fails_says_nothing_against_the_server(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    daemon = new_daemon({"router": router})
    answer = daemon.chat("broken")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_failed")
    assert "exit code 1" in answer.json()["error"]["message"]
    assert daemon.state("router/broken") == "backoff"
    assert daemon.chat("small").status_code == 200
    assert "exit code 1" in daemon.command("status").stdout


def test_a_server_that_does_not_unload_is_stopped_as_stuck(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """And is started again for the next request."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("stubborn").status_code == 200
    run = daemon.service("router")["run"]
    assert daemon.command("stop", "router/stubborn").returncode == 0
    wait_until("the end of the server", lambda: daemon.service("router")["run"] != run)
    assert daemon.state("router/stubborn") == "down"
    assert daemon.chat("small").status_code == 200


def test_models_go_with_their_server(router: dict[str, Any], new_daemon: NewDaemon) -> None:
    """Killed or stopped: the next request starts it anew and loads what it asks for."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("small").status_code == 200
    os.kill(daemon.get("/api/v1/container/router").json()["pid"], signal.SIGKILL)
    wait_until("the end of the model", lambda: daemon.state("router/small") == "down")
    assert daemon.chat("small").status_code == 200
    assert daemon.command("stop", "router").returncode == 0
    assert (daemon.state("router"), daemon.state("router/small")) == ("down", "down")
    assert daemon.chat("large").status_code == 200


def test_the_progress_of_a_load_is_shown(
    router: dict[str, Any], new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """As a part of the whole, by the API and the command, until the load is over."""
    daemon = new_daemon({"router": router})
    assert daemon.request("POST", "/api/v1/service/router%2Fheld/start?wait=false").is_success
    wait_until("half of its first stage", lambda: daemon.service("router/held")["progress"] == 0.25)
    assert "starting 25%" in daemon.command("status").stdout
    (tmp_path / "go").touch()
    assert daemon.chat("held").json()["model"] == "held"
    assert daemon.service("router/held")["progress"] is None
    assert daemon.service("router")["progress"] is None
