"""The real llama-server with a real model, by its template, as a process and in a container."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, Llamas, events, text_of, wait_until
from tests.rig.llama import Llama

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.llama

HALF = {"ram": "1200MiB"}
"""Two such services do not fit together."""


@pytest.fixture
def new_llama(llamas: Llamas, new_daemon: NewDaemon) -> Callable[..., Daemon]:
    """Make a daemon with real services of these names; keywords go to each of them."""

    def make(*names: str, **more: Any) -> Daemon:
        service = {**llamas.service, "memory": HALF, **more}
        return new_daemon(dict.fromkeys(names, service), **llamas.server)

    return make


def test_two_real_models_take_turns(new_llama: NewDaemon) -> None:
    daemon = new_llama("a", "b", idle_s=3)
    for name in ("a", "b"):
        with daemon.stream(name) as answer:
            chunks = list(events(answer))
        assert text_of(iter(chunks)).strip()
        assert chunks[-1] == "[DONE]"
        assert daemon.state(name) == "ready"
    assert daemon.state("a") == "down"
    wait_until("the idle stop", lambda: daemon.state("b") == "down")


def test_a_real_server_killed_in_mid_stream_is_no_clean_end(new_llama: NewDaemon) -> None:
    daemon = new_llama("a")
    assert daemon.chat("a").status_code == 200
    pid = daemon.get("/api/v1/container/a").json()["pid"]

    def read_and_kill() -> None:
        body = {"prompt": "Once upon a time", "max_tokens": 1000, "model": "a", "stream": True}
        url = f"{daemon.url}/v1/completions"
        with httpx.stream("POST", url, json=body, timeout=20) as answer:
            for number, _ in enumerate(events(answer)):
                if number == 3:
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises(httpx.RemoteProtocolError):
        read_and_kill()
    assert daemon.chat("a").status_code == 200


def test_a_model_that_went_missing_fails_for_good_and_says_so(
    llama: Llama, new_llama: NewDaemon, tmp_path: Path
) -> None:
    model = tmp_path / "missing.gguf"
    shutil.copy(llama.parts.model, model)
    daemon = new_llama("a", model=str(model))
    model.unlink()
    answer = daemon.chat("a")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_failed")
    assert "missing.gguf" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    assert daemon.state("a") == "failed"
    assert "missing.gguf" in daemon.command("status").stdout
    # A person mends it and says so.
    shutil.copy(llama.parts.model, model)
    assert daemon.command("start", "a").returncode == 0
    assert daemon.chat("a").status_code == 200
