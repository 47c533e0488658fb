"""Ollama's clients are served by OpenAI's servers, and learn of failures as they expect."""

import json
from typing import Any

import attrs
import ollama
import pytest
import trio

from proxycore import Reason, ServiceId
from proxyserver.http import Outcome
from proxyserver.http._ports import Progress
from proxyserver.refused import Refused
from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.wire import Change

from .rig import EVENTS, PATIENCE_S, Rig, Script, Server, Wire, answer, chunk, running
from .test_inference import post

CODER = ServiceId("coder")
SOON = Server(stream_after_s=0.05, stream_every_s=0.05)
CHAT = b'{"model": "coder:latest", "messages": [{"role": "user", "content": "Hi"}]}'


def event(said: Any) -> bytes:
    return chunk(b"data: " + json.dumps(said).encode() + b"\n\n")


def words(*texts: str) -> list[bytes]:
    return [event({"choices": [{"delta": {"content": text}}]}) for text in texts]


LAST = [
    event({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
    event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
    chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
]


def serving(seen: list[Any], *sent: bytes) -> Script:
    """Return a script that notes the request and sends these bytes."""

    async def script(wire: Wire) -> None:
        head = await wire.head()
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        seen.append((head, json.loads(await wire.exactly(length))))
        for piece in sent:
            await wire.send(piece)

    return script


async def ask(rig: Rig, path: str, body: bytes) -> tuple[bytes, list[Any]]:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept-Encoding: gzip"
    wire = await rig.ask(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answered = await wire.head()
    text = await wire.rest()
    if b"chunked" in answered.lower():
        text = b"".join(part.split(b"\r\n", 1)[-1] for part in text.split(b"\r\n\r\n"))
    return answered, [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]


async def test_a_conversation_is_translated() -> None:
    """What the server sees, what the client gets, and what the record knows."""
    seen: list[Any] = []
    rules = {"coder": RequestRules(BodyRules("real", Change({"seed": b"1"})), added=b"x-a: b\r\n")}
    async with running(serving(seen, EVENTS, *words("a", "b"), *LAST), rules=rules) as rig:
        head, lines = await ask(rig, "/api/chat", CHAT)
        record = await rig.record()
        assert rig.conductor.asked == ["coder"]
    (got, body) = seen[0]
    assert got.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"accept-encoding" not in got.lower()
    assert b"x-a: b\r\n" in got
    assert got.lower().count(b"content-type: application/json\r\n") == 1
    assert body == {
        "model": "real",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "Hi"}],
        "seed": 1,
    }
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: application/x-ndjson\r\n" in head.lower()
    assert [line["message"]["content"] for line in lines] == ["a", "b", ""]
    assert [line["done"] for line in lines] == [False, False, True]
    assert lines[-1]["eval_count"] == 2
    assert record.usage is not None
    assert (record.usage.input, record.usage.output) == (7, 2)
    assert (record.model, record.streamed, record.outcome) == ("coder", True, Outcome.ANSWERED)


async def test_a_large_request_is_translated() -> None:
    """One that does not go to the server in one piece; a failure of it, too."""
    seen: list[Any] = []
    body = {"model": "coder", "prompt": "x" * 300_000, "stream": False}
    said = json.dumps({"choices": [{"message": {"content": "y"}}]}).encode()
    async with running(serving(seen, answer(said))) as rig:
        status, _, told = await post(rig, "/api/generate", json.dumps(body).encode())
        assert (status, told["response"], told["done"]) == (200, "y", True)
    assert len(seen[0][1]["messages"][0]["content"]) == 300_000
    async with running(serving(seen, answer(b'{"error": {"message": "no"}}'))) as rig:
        status, _, told = await post(rig, "/api/generate", json.dumps(body).encode())
        assert (status, told) == (502, {"error": "no"})


async def test_a_prompt_of_nothing_loads() -> None:
    """The place at the service is waited for, and nothing is sent there."""
    async with running() as rig:
        status, _, told = await post(rig, "/api/generate", b'{"model": "coder", "stream": false}')
        assert rig.conductor.asked == ["coder"]
        assert rig.upstreams == []
    assert (status, told["done_reason"]) == (200, "load")


async def test_refusals_have_ollamas_shape() -> None:
    """The server's own, ours before it is asked, ours about the request."""
    said = b'{"error": {"message": "too long", "code": 400}}'
    async with running(serving([], answer(said, status="400 Bad Request"))) as rig:
        assert (await post(rig, "/api/chat", CHAT))[::2] == (400, {"error": "too long"})
        status, _, told = await post(rig, "/api/chat", b'{"model": "codre"}')
        assert (status, list(told)) == (404, ["error"])
        status, _, told = await post(rig, "/api/chat", b'{"model": "coder", "messages": 1}')
        assert (status, list(told)) == (400, ["error"])
        rig.conductor.refusals["coder"] = Refused(ServiceId("coder"), Reason.STOPPED, "why")
        assert (await post(rig, "/api/chat", CHAT))[::2] == (503, {"error": "why"})


async def test_a_stream_that_breaks_tells_so_and_does_not_end() -> None:
    """An error as the last line, and an aborted body."""
    async with running(serving([], EVENTS, *words("a"))) as rig:
        wire = await rig.ask(
            b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(CHAT)
            + CHAT
        )
        await wire.head()
        text = await wire.rest()
        record = await rig.record()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]
    assert [*lines[-1]] == ["error"]
    assert not text.endswith(b"0\r\n\r\n")
    assert record.outcome is Outcome.BROKEN


async def test_a_body_that_is_too_large_for_memory_is_refused(tmp_path: Any) -> None:
    """It cannot be translated on disk."""
    server = Server(1000, spill_max=500_000, spill_total=500_000, spill_dir=tmp_path)
    async with running(server=server) as rig:
        status, _, told = await post(rig, "/api/chat", CHAT[:-1] + b" " * 400_000 + b"}")
    assert (status, [*told]) == (413, ["error"])


async def test_ollamas_own_client_is_content() -> None:
    """Lists, a conversation with a tool, a stream, vectors, and an error."""
    call = {"index": 0, "id": "x", "function": {"name": "add", "arguments": '{"a": 1}'}}
    calls = event({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})

    def use(url: str) -> None:
        with ollama.Client(url, trust_env=False) as client:
            talk(client)

    def talk(client: ollama.Client) -> None:
        names = [model.model for model in client.list().models]
        assert {"coder", "gpt-4o", "many/tiny"} <= {*names}
        assert client.ps().models[0].model == "coder"
        assert client.show("coder").capabilities == ["completion", "tools"]
        told = [*client.chat("coder", [{"role": "user", "content": "Hi"}], stream=True)]
        assert [one.message.content for one in told[:2]] == ["a", "b"]
        (used,) = told[-2].message.tool_calls or ()
        assert (used.function.name, used.function.arguments) == ("add", {"a": 1})
        assert (told[-1].done, told[-1].eval_count) == (True, 2)
        with pytest.raises(ollama.ResponseError, match="there is no model"):
            client.generate("codre", "Hi")

    async with running(serving([], EVENTS, *words("a", "b"), calls, *LAST)) as rig:
        await trio.to_thread.run_sync(use, f"http://127.0.0.1:{rig.port}")


@pytest.mark.parametrize("progress", ["none", "comments", "reasoning"])
async def test_who_waits_for_a_stream_is_told(progress: Progress) -> None:
    """By pieces without text, which Ollama's own client reads as such; then comes the answer."""
    told: list[ollama.ChatResponse] = []

    def use(url: str) -> None:
        with ollama.Client(url, trust_env=False, timeout=PATIENCE_S) as client:
            for one in client.chat("coder", [{"role": "user", "content": "Hi"}], stream=True):
                told.append(one)
                if len(told) == 2:
                    trio.from_thread.run_sync(let_go)

    def let_go() -> None:
        assert rig.conductor.hold is not None
        rig.conductor.hold.set()

    async with running(serving([], EVENTS, *words("a", "b"), *LAST), server=SOON) as rig:
        kind = rig.settings.services[CODER]
        assert isinstance(rig.settings.services, dict)
        rig.settings.services[CODER] = attrs.evolve(kind, stream_progress=progress)
        rig.conductor.hold = trio.Event()
        await trio.to_thread.run_sync(use, f"http://127.0.0.1:{rig.port}")
        record = await rig.record()
    said = "".join(one.message.content or "" for one in told)
    thoughts = "".join(one.message.thinking or "" for one in told)
    assert (said, thoughts != "") == ("ab", progress == "reasoning")
    assert [one.done for one in told] == [False] * (len(told) - 1) + [True]
    assert (told[-1].eval_count, record.outcome) == (2, Outcome.ANSWERED)


@pytest.mark.parametrize("refused", [True, False])
async def test_a_failure_after_that_is_a_line(refused: bool) -> None:
    """Ours, or the service's own; it is the last, of a whole body, and the client raises it."""
    messages: list[str] = []

    def use(url: str) -> None:
        with ollama.Client(url, trust_env=False, timeout=PATIENCE_S) as client:
            try:
                for _ in client.generate("coder", "Hi", stream=True):
                    trio.from_thread.run_sync(let_go)
            except ollama.ResponseError as error:
                messages.append(error.error)

    def let_go() -> None:
        assert rig.conductor.hold is not None
        rig.conductor.hold.set()

    said = answer(b'{"error": {"message": "too long"}}', status="400 Bad Request")
    async with running(serving([], said), server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        if refused:
            no = Refused(ServiceId("coder"), Reason.STOPPED, "why")
            rig.conductor.refusals["coder"] = no
        await trio.to_thread.run_sync(use, f"http://127.0.0.1:{rig.port}")
    [message] = messages
    assert ("why" if refused else "too long") in message


async def test_who_wants_all_at_once_is_told_nothing_before() -> None:
    """There is nothing that could be told, and the status is still to be found."""
    async with running(serving([]), server=SOON) as rig:
        rig.conductor.hold = trio.Event()
        body = CHAT[:-1] + b', "stream": false}'
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        wire = await rig.ask(head % len(body) + body)
        with trio.move_on_after(0.3) as scope:
            await wire.head()
        assert scope.cancelled_caught
