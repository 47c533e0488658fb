"""What a client is told to do, and what has to come of it: the same for each library."""

import json
import os
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any, Protocol

QUESTION = "Tell me a long story about a fox."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tell the weather.", "parameters": SCHEMA},
}


class Client(Protocol):
    """A library."""

    def chat(self, model: str) -> str: ...

    def stream(self, model: str) -> Generator[str]:
        """Yield pieces of an answer; closed before its end, it hangs up."""

    def tools(self, model: str) -> str:
        """Return the name of the tool that the model calls."""

    @property
    def embed(self) -> Callable[[str], list[float]] | None:
        """Return a vector; None: it cannot."""


def _said(text: str) -> None:
    assert text.strip(), "no text came"


def _streamed(client: Client, model: str) -> None:
    pieces = list(client.stream(model))
    assert len(pieces) > 1, "it came in one piece"
    _said("".join(pieces))


def _left(client: Client) -> None:
    pieces = client.stream("endless")
    for _ in range(3):
        next(pieces)
    pieces.close()


def _embedded(embed: Callable[[str], list[float]], model: str) -> None:
    assert len(embed(model)) > 100


def _called(client: Client) -> None:
    name = client.tools("tools")
    assert name == "weather", f"called {name!r}"


def _refused(work: Callable[[], object], words: str) -> None:
    said = None
    try:
        work()
    except Exception as error:
        said = str(error)
    assert said is not None, "no error came"
    assert words in said, f"it says only: {said}"


def _at_once(*works: Callable[[], object]) -> None:
    faults: list[Exception] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def scenarios(client: Client) -> dict[str, Callable[[], object]]:
    """Return all that this client can be told."""
    embed = client.embed
    waits = [lambda: _said(client.chat("slow")), lambda: _streamed(client, "slow")]
    can: dict[str, Callable[[], object]] = {
        "chat": lambda: _said(client.chat("chat")),
        "stream": lambda: _streamed(client, "chat"),
        "error": lambda: _refused(lambda: client.chat("chta"), "did you mean 'chat'"),
        "error-in-stream": lambda: _refused(lambda: list(client.stream("dying")), "dying"),
        "tools": lambda: _called(client),
        "cancel": lambda: _left(client),
    }
    if embed is not None:
        can["embeddings"] = lambda: _embedded(embed, "embed")
        waits.append(lambda: _embedded(embed, "slow-embed"))
    can["load"] = lambda: _at_once(*waits)
    return can


def serve(client: Client, version: str) -> None:
    """Do what the lines of the standard input say; tell what came of it, a line of JSON each."""
    # Some libraries print on the standard output.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(said: dict[str, Any]) -> None:
        told.write(json.dumps(said) + "\n")
        told.flush()

    can = scenarios(client)
    answer({"version": version, "scenarios": [*can]})
    for line in sys.stdin:
        fault = None
        try:
            can[line.strip()]()
        except Exception as error:
            fault = f"{type(error).__module__}.{type(error).__name__}: {error}"
        answer({"fault": fault})
