"""What the template relies on in router mode is true of the real llama-server and of the fake."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests.rig import router
from tests.rig.llama import LLAMA_FLAGS, Llama

PATIENCE_S = 20.0
CUT = 20 << 20
FLAGS = ("--no-models-autoload", "--models-max", "0", *LLAMA_FLAGS)
Answer = tuple[int, Any]


@attrs.frozen
class Server:
    """One that runs, with the models `small`, `large` and `broken`, which is cut."""

    url: str

    def ask(self, method: str, path: str, **body: object) -> Answer:
        answer = httpx.request(method, self.url + path, json=body or None, timeout=PATIENCE_S)
        return answer.status_code, answer.json()

    def refusal(self, path: str, **body: object) -> tuple[int, str]:
        status, said = self.ask("POST", path, **body)
        return status, said["error"]["message"]

    def status(self, model: str) -> dict[str, Any]:
        """Return what is told of a model that we read; it tells how it was started besides."""
        listed = {one["id"]: one["status"] for one in self.ask("GET", "/models")[1]["data"]}
        return {
            key: listed[model][key]
            for key in ("value", "failed", "exit_code")
            if key in listed[model]
        }

    def settled(self, model: str) -> dict[str, Any]:
        """Wait while the model is on its way, and return how it is then."""
        give_up_at = time.monotonic() + PATIENCE_S
        while (status := self.status(model))["value"] not in ("loaded", "unloaded"):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        return status

    def wait_for(self, value: str, model: str) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while self.status(model)["value"] != value:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)

    def load(self, model: str) -> dict[str, Any]:
        assert self.ask("POST", "/models/load", model=model) == (200, {"success": True})
        return self.settled(model)


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fill(folder: Path, model: Path | None) -> None:
    """The fake loads whatever is there, but never `broken`."""
    for name in ("small", "large", "broken"):
        file = folder / f"{name}.gguf"
        if model is None:
            file.touch()
        elif name == "broken":
            with model.open("rb") as whole:
                file.write_bytes(whole.read(CUT))
        else:
            file.symlink_to(model)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.llama)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    port, environment = _port(), dict(os.environ)
    if request.param == "fake":
        _fill(tmp_path, None)
        command = [sys.executable, router.__file__, str(port), str(tmp_path)]
    else:
        llama: Llama = request.getfixturevalue("llama")
        _fill(tmp_path, llama.parts.model)
        where = ["--models-dir", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)]
        command = [str(llama.parts.server), *where, *FLAGS]
        environment |= dict(llama.environment)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_ready(url, process)
        yield Server(url)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait while it refuses connections, and says 503 for a moment after that."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not _is_ready(url):
        assert process.poll() is None
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=PATIENCE_S).status_code == 200
    except httpx.TransportError:
        return False


UNLOADED = {"value": "unloaded"}
LOADED = {"value": "loaded"}
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


def test_it_is_ready_with_nothing_loaded(server: Server) -> None:
    """Its list tells of every file, and a request for one loads nothing."""
    assert [server.status(name) for name in ("small", "large", "broken")] == [UNLOADED] * 3
    path = "/v1/chat/completions"
    assert server.refusal(path, model="small", **CHAT) == (400, "model is not loaded")
    assert server.status("small") == UNLOADED


def test_a_model_is_loaded_and_unloaded(server: Server) -> None:
    """Both are only begun; what is there already is refused, which does no harm."""
    assert server.load("small") == LOADED
    assert server.refusal("/models/load", model="small") == (400, "model is already running")
    status, said = server.ask("POST", "/v1/chat/completions", model="small", **CHAT)
    assert (status, said["model"]) == (200, "small")
    assert server.ask("POST", "/models/unload", model="small") == (200, {"success": True})
    server.wait_for("unloaded", "small")
    assert server.status("small") == UNLOADED
    assert server.refusal("/models/unload", model="small") == (400, "model is not running")


def test_two_models_are_loaded_side_by_side(server: Server) -> None:
    """The server has no limit of its own."""
    assert (server.load("small"), server.load("large")) == (LOADED, LOADED)
    assert server.status("small") == LOADED


def test_a_load_that_fails_is_told_in_the_list(server: Server) -> None:
    """It is unloaded again, and can be tried again."""
    failed = {"value": "unloaded", "failed": True, "exit_code": 1}
    assert (server.load("broken"), server.load("broken")) == (failed, failed)


def test_a_load_is_given_up_by_an_unload(server: Server) -> None:
    assert server.ask("POST", "/models/load", model="small") == (200, {"success": True})
    assert server.ask("POST", "/models/unload", model="small") == (200, {"success": True})
    server.wait_for("unloaded", "small")


def test_an_unknown_model_is_refused(server: Server) -> None:
    assert server.refusal("/models/load", model="none") == (404, "File Not Found")
    assert server.refusal("/models/unload", model="none") == (400, "model is not found")
    path = "/v1/chat/completions"
    assert server.refusal(path, model="none", **CHAT) == (400, "model 'none' not found")
