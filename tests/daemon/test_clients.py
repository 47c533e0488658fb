"""Client libraries against a daemon with the real llama-server: by hand, with `--clients FOLDER`.

The folder has a virtual environment and Node's modules:
`cd FOLDER && python3 -m venv python && python/bin/pip install openai anthropic ollama litellm
langchain-openai langchain-anthropic langchain-ollama && npm install openai @anthropic-ai/sdk ollama
ai@6 @ai-sdk/openai-compatible@2` (600 MB; Node 20).
With `-s` it prints the table of what passed.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.daemon.rig import Daemon, wait_until
from tests.rig.llama import Llama

pytestmark = [pytest.mark.clients, pytest.mark.llama]
NewDaemon = Callable[..., Daemon]

PYTHON = (
    *("openai", "anthropic", "ollama", "langchain-openai", "langchain-anthropic"),
    *("langchain-ollama", "litellm openai", "litellm anthropic", "litellm ollama_chat", "curl"),
)
NODE = ("openai", "@anthropic-ai/sdk", "ollama", "ai")
CLIENTS = (*(("python", name) for name in PYTHON), *(("node", name) for name in NODE))
LOAD_S = 30
PATIENCE_S = 120.0
"""For one thing that a client does: a retry with its pauses, on a machine that does much else."""
ROOT = Path(__file__).parents[2]


@attrs.define
class Client:
    """A library in a process of its own."""

    language: str
    name: str
    process: subprocess.Popen[str]
    version: str = ""
    scenarios: tuple[str, ...] = ()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, f"{self.name} says nothing"
        line = self.process.stdout.readline()
        assert line, f"{self.name} has ended"
        return json.loads(line)

    def begin(self, scenario: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(scenario + "\n")
        self.process.stdin.flush()

    def does(self, scenario: str) -> str | None:
        """Return what went wrong."""
        self.begin(scenario)
        fault: str | None = self.answer()["fault"]
        return fault


@pytest.fixture
def new_client(pytestconfig: pytest.Config) -> Iterator[Callable[..., Client]]:
    """Make clients that end with the test."""
    folder = Path(pytestconfig.getoption("--clients")).absolute()
    script = ROOT / "tests/clients/libraries.mjs"
    commands = {
        "python": [str(folder / "python/bin/python"), "-m", "tests.clients.libraries"],
        "node": ["node", str(script)],
    }
    with contextlib.ExitStack() as stack:

        def make(language: str, name: str, url: str) -> Client:
            process = subprocess.Popen(
                [*commands[language], name, url],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Client(language, name, process)

        yield make


def meet(client: Client) -> None:
    hello = client.answer()
    client.version, client.scenarios = hello["version"], tuple(hello["scenarios"])


@pytest.fixture
def daemon(llama: Llama, new_daemon: NewDaemon) -> Daemon:
    """A daemon with real services; what loads slowly takes `LOAD_S`, what dies takes 2 s for it."""
    service: dict[str, Any] = {"memory": {"ram": "500MiB"}, "concurrency": 32}

    def shell(before: str, *more: str) -> dict[str, Any]:
        words = ["sh", "-c", f'{before}; exec "$@"', "sh", *llama.command(), *more]
        process = {"command": words, "environment": dict(llama.environment)}
        return {**service, "process": process, "ready": {"path": "/health"}}

    vectors = ("--embeddings", "--pooling", "mean")
    calling = [sys.executable, "-m", "tests.rig.backends.calling", "${PORT}"]
    endless = {"endless": {"set": {"ignore_eos": True}}}
    return new_daemon(
        {
            "chat": {**shell("true"), "aliases": ["endless"], "requests": {"names": endless}},
            "embed": shell("true", *vectors),
            "slow": shell(f"sleep {LOAD_S}"),
            "slow-embed": shell(f"sleep {LOAD_S}", *vectors),
            "dying": shell("sleep 2; echo dying of old age >&2; exit 3"),
            "tools": {**service, "process": {"command": calling, "working_dir": str(ROOT)}},
        },
        ram="4GiB",
        stream_after_s=1,
        stream_every_s=5,
    )


@pytest.mark.parametrize(("language", "name"), CLIENTS)
def test_a_library_is_content(
    daemon: Daemon, new_client: Callable[..., Client], language: str, name: str
) -> None:
    """With all it can, each error in words; a stream that it leaves ends the work."""
    client = new_client(language, name, daemon.url)
    meet(client)
    faults = {one: client.does(one) for one in client.scenarios if one not in ("load", "cancel")}
    faults["cancel"] = client.does("cancel")
    left_at = time.monotonic()
    print(f"\n{language} {name} {client.version}: {faults}")  # noqa: T201
    assert {one: fault for one, fault in faults.items() if fault} == {}
    wait_until("a free place", lambda: daemon.service("chat")["in_flight"] == 0)
    slots = daemon.get("/slots?model=chat").json()
    assert not any(slot["is_processing"] for slot in slots)
    # The whole answer takes 20 s.
    assert time.monotonic() - left_at < 3


def test_a_long_load_is_waited_for(daemon: Daemon, new_client: Callable[..., Client]) -> None:
    """By all at once, who share one start; streamed or not, whatever each is used to wait."""
    clients = [new_client(*client, daemon.url) for client in CLIENTS]
    for client in clients:
        meet(client)
    begun_at = time.monotonic()
    for client in clients:
        client.begin("load")
    faults = {(one.language, one.name): one.answer()["fault"] for one in clients}
    assert {one: fault for one, fault in faults.items() if fault} == {}
    assert time.monotonic() - begun_at > LOAD_S
    for name in ("slow", "slow-embed"):
        told = daemon.get(f"/api/v1/decisions?service={name}&kind=start").json()
        assert len(told["decisions"]) == 1
