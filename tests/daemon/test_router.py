"""The real llama-server in router mode: three real models of which two fit, through a daemon."""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import PATIENCE_S, Daemon, events, wait_until
from tests.rig.engine import Engine
from tests.rig.llama import Llama

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.llama

THIRD = {"ram": "700MiB"}
"""Of three such models two fit together."""
CUT = 20 << 20


def fill(folder: Path, model: Path) -> None:
    """Put a model there under three names, and a part of it under another."""
    folder.mkdir()
    shutil.copy(model, folder / "coder.gguf")
    os.link(folder / "coder.gguf", folder / "chat.gguf")
    os.link(folder / "coder.gguf", folder / "third.gguf")
    with model.open("rb") as whole:
        (folder / "cut.gguf").write_bytes(whole.read(CUT))


def service(folder: Path, **more: Any) -> dict[str, Any]:
    models = [{"name": name, "memory": THIRD} for name in ("coder", "chat", "third")]
    return {
        "type": "llamacpp-router",
        "models_dir": str(folder),
        "ctx": 2048,
        "parallel": 1,
        "gpu_layers": 0,
        "threads": 1,
        "args": ["--no-warmup", "--no-ui", "--device", "none"],
        "models": [*models, {"name": "cut"}],
        **more,
    }


@pytest.fixture
def router(llama: Llama, tmp_path: Path) -> dict[str, Any]:
    """A service that is a process."""
    fill(tmp_path / "models", llama.parts.model)
    return service(
        tmp_path / "models",
        binary=str(llama.parts.server),
        process={"environment": dict(llama.environment)},
    )


def states(daemon: Daemon) -> dict[str, str]:
    """Return how each model is, by its name."""
    services = daemon.get("/api/v1/services").json()["services"]
    inside = {one["id"].removeprefix("router/"): one["state"] for one in services}
    return {name: state for name, state in inside.items() if name != "router"}


def children(router: dict[str, Any]) -> dict[str, int]:
    """Return the pids of the models' own processes, by model."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if "--alias" in words and any(router["models_dir"] in word for word in words):
                found[words[words.index("--alias") + 1]] = int(process.name)
    return found


def told(daemon: Daemon, model: str) -> str:
    """Return how the server itself says that a model is."""
    address = daemon.get("/api/v1/container/router").json()["ports"][0]
    listed = httpx.get(f"http://{address}/models", timeout=PATIENCE_S).json()["data"]
    return next(str(one["status"]["value"]) for one in listed if one["id"] == model)


def test_three_real_models_share_the_room_for_two(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """The third takes the place of one; which, is a matter of what they cost.  The other stays."""
    daemon = new_daemon({"router": router})
    for name in ("coder", "chat"):
        answer = daemon.chat(name).json()
        assert answer["model"] == name
        assert answer["choices"][0]["message"]["content"]
    before = children(router)
    assert daemon.chat("third").json()["model"] == "third"
    after = children(router)
    left = "chat" if "coder" in after else "coder"
    other = ({"coder", "chat"} - {left}).pop()
    assert states(daemon) == {left: "down", other: "ready", "third": "ready", "cut": "down"}
    assert after == {other: before[other], "third": after["third"]}


def test_a_real_model_is_not_unloaded_while_it_streams(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """Who needs its room waits, and both get whole answers."""
    daemon = new_daemon({"router": router})
    long: dict[str, Any] = {"max_tokens": 150, "ignore_eos": True}
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(daemon.chat("third")))
    with daemon.stream("chat", **long) as chat, daemon.stream("coder", **long) as coder:
        waiting.start()
        wait_until("the third in the queue", lambda: daemon.service("router/third")["waiting"] == 1)
        ends = [list(events(answer))[-1] for answer in (chat, coder)]
    waiting.join()
    assert (ends, answers[0].json()["model"]) == (["[DONE]", "[DONE]"], "third")


def test_a_real_model_is_unloaded_by_hand(router: dict[str, Any], new_daemon: NewDaemon) -> None:
    """Its process is gone, its server serves on, and the next request loads it again."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("coder").status_code == daemon.chat("chat").status_code == 200
    assert daemon.command("stop", "router/coder").returncode == 0
    assert (daemon.state("router/coder"), list(children(router))) == ("down", ["chat"])
    assert daemon.chat("coder").json()["model"] == "coder"


def test_metrics_of_a_real_model(router: dict[str, Any], new_daemon: NewDaemon) -> None:
    """Each loaded one tells its own; another is not loaded for them."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("coder").status_code == 200
    told = daemon.get("/api/v1/service/router/coder/metrics")
    assert (told.status_code, "llamacpp:requests_processing 0" in told.text) == (200, True)
    assert daemon.get("/api/v1/service/router/chat/metrics").status_code == 409
    told = daemon.get("/metrics/services")
    assert 'llamacpp:requests_processing{service="router/coder"} 0' in told.text
    assert "router/chat" not in told.text
    assert list(children(router)) == ["coder"]


def test_a_real_model_that_is_cut_does_not_load(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """That is told with the reason, and the others serve on."""
    daemon = new_daemon({"router": router})
    answer = daemon.chat("cut")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_failed")
    assert "exit code 1" in answer.json()["error"]["message"]
    assert "corrupted or incomplete" in daemon.command("logs", "router").stdout
    assert daemon.chat("chat").json()["model"] == "chat"


def test_a_real_model_that_crashed_is_loaded_again(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """By the next request after it was seen; the server and the other models know nothing of it."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("coder").status_code == daemon.chat("chat").status_code == 200
    before = children(router)
    os.kill(before["coder"], signal.SIGKILL)
    wait_until("its end", lambda: daemon.state("router/coder") != "ready")
    assert daemon.chat("coder").json()["model"] == "coder"
    after = children(router)
    assert (before["chat"], before["coder"] != after["coder"]) == (after["chat"], True)


def test_real_models_of_an_earlier_life_are_ended(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """With their server: which of them were loaded for whom, nobody knows."""
    daemon = new_daemon({"router": router})
    assert daemon.chat("coder").status_code == 200
    before = children(router)
    daemon.kill()
    assert children(router) == before
    daemon.start()
    assert (children(router), daemon.state("router/coder")) == ({}, "down")
    assert daemon.chat("coder").json()["model"] == "coder"


def test_a_real_model_that_sleeps_is_woken_by_a_request_alone(
    router: dict[str, Any], new_daemon: NewDaemon
) -> None:
    """llama-server falls asleep by a timer of its own; our questions leave it alone."""
    args = [*router["args"], "--sleep-idle-seconds", "1"]
    daemon = new_daemon({"router": {**router, "args": args}})
    assert daemon.chat("coder").status_code == 200
    before = children(router)
    wait_until("its sleep", lambda: told(daemon, "coder") == "sleeping")
    for path in ("/api/v1/services", "/v1/models", "/api/v1/container/router"):
        assert daemon.get(path).status_code == 200
    assert daemon.command("status").returncode == 0
    assert (told(daemon, "coder"), daemon.state("router/coder")) == ("sleeping", "ready")
    assert daemon.chat("coder").json()["model"] == "coder"
    assert children(router) == before


@pytest.mark.engine
def test_real_models_take_turns_in_a_container(
    engine: Engine, llama: Llama, llama_image: str, tmp_path: Path, new_daemon: NewDaemon
) -> None:
    """Its server is asked through the port that is published, and ends with all its models."""
    fill(tmp_path / "models", llama.parts.model)
    volumes = [f"{one.source}:{one.target}:ro" for one in llama.mounts]
    router = service(
        tmp_path / "models",
        runtime="docker",
        models_max=1,
        container={"image": llama_image, "volumes": volumes},
    )
    daemon = new_daemon({"router": router}, docker={"host": engine.host})
    for name in ("coder", "chat", "coder"):
        assert daemon.chat(name).json()["model"] == name
    assert states(daemon) == {"coder": "ready", "chat": "down", "third": "down", "cut": "down"}
    assert daemon.command("stop", "router").returncode == 0
    ended = daemon.get("/api/v1/container/router").json()["exit"]
    assert (daemon.state("router/coder"), ended["exit_code"]) == ("down", 0)
