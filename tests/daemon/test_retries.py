"""SDKs that ask again while a model loads, or after it failed, share what each try began."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.daemon.rig import PATIENCE_S, Daemon, process_flavour

NewDaemon = Callable[..., Daemon]
MESSAGES: Any = [{"role": "user", "content": "Hello!"}]


def kinds(daemon: Daemon) -> list[str]:
    told = daemon.get("/api/v1/decisions").json()["decisions"]
    return [one["kind"] for one in told]


def ask(daemon: Daemon, timeout_s: float, *, streamed: bool = False) -> str:
    """Ask as the SDK does, which waits for half a second and more between its tries."""
    with openai.OpenAI(
        base_url=f"{daemon.url}/v1", api_key="any", timeout=timeout_s, max_retries=4
    ) as client:
        asked = client.chat.completions
        if streamed:
            pieces = asked.create(model="a", messages=MESSAGES, stream=True)
            return "".join(piece.choices[0].delta.content or "" for piece in pieces)
        return asked.create(model="a", messages=MESSAGES).choices[0].message.content or ""


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("timeout_s", "wait_s", "left"),
    [(1.0, PATIENCE_S, "leave"), (PATIENCE_S, 1.0, "refuse")],
    ids=["client gives up", "proxy gives up"],
)
def test_tries_share_one_start(
    mock_binary: Path,
    new_daemon: NewDaemon,
    streamed: bool,
    timeout_s: float,
    wait_s: float,
    left: str,
) -> None:
    """However each try ends while the model loads, the last finds it loaded."""
    service = process_flavour(mock_binary).mock({"LOAD_MS": "2500", "LOAD_MODE": "refuse"})
    daemon = new_daemon({"a": {**service, "wait_s": wait_s}})
    assert ask(daemon, timeout_s, streamed=streamed).startswith("Once upon a time")
    told = kinds(daemon)
    assert told.count(left) >= 1
    assert told.count("start") == 1


@pytest.mark.slow
def test_tries_share_one_cool_down(mock_binary: Path, new_daemon: NewDaemon) -> None:
    """Who is told when to come back comes back then, and all find one start that works."""
    service = process_flavour(mock_binary).mock({})
    script = 'test -e failed || { touch failed; exit 3; }; exec "$0"'
    service["process"]["command"] = ["sh", "-c", script, str(mock_binary)]
    daemon = new_daemon({"a": service})
    answers: list[str] = []
    clients = [
        threading.Thread(target=lambda: answers.append(ask(daemon, PATIENCE_S))) for _ in range(5)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(answers) == len(clients)
    told = kinds(daemon)
    assert told.count("start") == 2
    assert told.count("refuse") in range(5, 16)
