"""Every path of the table goes to whoever has the model, by whichever way it is named."""

import json
from typing import Any

import anthropic
import pytest
import trio

from proxyserver.surfaces import SURFACES, Shape

from .rig import EVENTS, Rig, Server, Wire, answer, chunk, running
from .test_inference import echo, post

FORM = ("Content-Type: multipart/form-data; boundary=b",)


def form(model: str | None) -> bytes:
    named = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
    other = "--b\r\nContent-Disposition: form-data; name=x\r\n\r\ny\r\n--b--\r\n"
    return ("" if model is None else named).encode() + other.encode()


UNTOUCHED = [row for row in SURFACES if row.errors is not Shape.OLLAMA]
"""Those that are not translated; see test_ollama.py."""


@pytest.mark.parametrize("row", UNTOUCHED, ids=lambda row: row.path)
async def test_each_path_is_routed_by_its_model(row: Any) -> None:
    """In the body, or where there is none, in the query; the path is not touched."""
    path = row.path.replace("{path}", "a%2fb")
    async with running(echo) as rig:
        if row.method == "GET":
            status, _, body = await rig.get(f"{path}?model=gpt-4o")
            seen, sent = json.loads(body), ""
            line = f"GET {path}?model=gpt-4o HTTP/1.1"
        else:
            sent = '{"x": 1.0, "model": "gpt-4o"}'
            status, _, seen = await post(rig, path, sent.encode())
            line = f"POST {path} HTTP/1.1"
        assert rig.conductor.asked == ["coder"]
    assert status == 200
    assert seen == {"line": line, "body": sent}


@pytest.mark.parametrize(
    ("body", "headers", "query", "default", "asked"),
    [
        (b"{}", (), "?model=gpt-4o", None, "coder"),
        (b"{}", (), "?model=gpt-4o", "small", "coder"),
        (b"{}", (), "", "gpt-4o", "coder"),
        (b"", (), "", "gpt-4o", "coder"),
        (b'{"model": "coder"}', (), "", "small", "coder"),
        (form(None), FORM, "", "gpt-4o", "coder"),
        (form("coder"), FORM, "", "small", "coder"),
    ],
)
async def test_who_is_meant_by_who_says_nothing(
    body: bytes, headers: tuple[str, ...], query: str, default: str | None, asked: str
) -> None:
    """The body counts, then the query, then the configuration; the server gets what came."""
    async with running(echo, server=Server(default_model=default)) as rig:
        status, _, seen = await post(rig, f"/v1/images/edits{query}", body, *headers)
        assert rig.conductor.asked == [asked]
    assert (status, seen["body"]) == (200, body.decode())
    assert seen["line"] == f"POST /v1/images/edits{query} HTTP/1.1"


@pytest.mark.parametrize(
    ("path", "body", "line", "sent"),
    [
        ("/rerank?model=small", b'{"x":1}', "/rerank?model=tiny", '{"model": "tiny", "x":1}'),
        ("/rerank", b"{}", "/rerank", '{"model": "tiny"}'),
        ("/rerank?a=b", b"", "/rerank?a=b&model=tiny", ""),
        ("/rerank", b'{"model":"many/tiny"}', "/rerank", '{"model":"tiny"}'),
    ],
)
async def test_a_model_inside_a_server_is_told_by_name(
    path: str, body: bytes, line: str, sent: str
) -> None:
    """However it was found: the server has others, and cannot know our default."""
    async with running(echo, server=Server(default_model="small")) as rig:
        status, _, seen = await post(rig, path, body)
        assert rig.conductor.asked == ["many/tiny"]
    assert (status, seen) == (200, {"line": f"POST {line} HTTP/1.1", "body": sent})


async def refusal(rig: Rig, path: str, body: bytes) -> tuple[int, str]:
    status, _, error = await post(rig, path, body)
    assert rig.conductor.asked == []
    return status, error["error"]["code"]


async def test_nobody_guesses() -> None:
    """Without a default, who names no model learns that; who names two as well."""
    async with running() as rig:
        assert await refusal(rig, "/rerank", b"{}") == (400, "missing_model")
        assert await refusal(rig, "/rerank?model=coder", b'{"model": "small"}') == (
            400,
            "invalid_request",
        )
        assert await refusal(rig, "/rerank?model=a&model=b", b"{}") == (400, "invalid_request")
        status, _, body = await rig.get("/props")
        assert (status, json.loads(body)["error"]["code"]) == (400, "missing_model")


async def test_what_administers_a_server_is_closed_below_an_open_path() -> None:
    """What follows is the client's to write."""
    async with running() as rig:
        body = b'{"model": "coder"}'
        assert await refusal(rig, "/sdapi/v1/..%2f../sleep", body) == (403, "admin_path")


@pytest.mark.parametrize("path", ["/v1/messages", "/service/codre/v1/messages"])
async def test_errors_of_anthropics_path_have_its_shape(path: str) -> None:
    """Its SDK reads no other."""
    async with running() as rig:
        status, _, error = await post(rig, path, b'{"model": "codre"}')
    assert status == 404
    assert error["type"] == "error"
    assert error["error"]["type"] == "not_found_error"
    assert "did you mean 'coder'" in error["error"]["message"]
    assert set(error["error"]) == {"type", "message"}


def event(kind: str, **said: Any) -> bytes:
    told = json.dumps({"type": kind, **said})
    return chunk(f"event: {kind}\ndata: {told}\n\n".encode())


async def test_anthropics_own_sdk_is_content() -> None:
    """A message, an error by its kind, and a stream that breaks with words."""
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "coder",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    }

    async def script(wire: Wire) -> None:
        head = await wire.head()
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        if not json.loads(await wire.exactly(length)).get("stream"):
            await wire.send(answer(json.dumps(message).encode(), "Content-Type: application/json"))
            return
        await wire.send(EVENTS + event("message_start", message={**message, "content": []}))

    def use(url: str) -> None:
        asked: Any = {"max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            told = client.messages.create(model="coder", **asked)
            assert (told.content[0].type, told.usage.output_tokens) == ("text", 1)
            with pytest.raises(anthropic.NotFoundError, match="did you mean 'coder'"):
                client.messages.create(model="codre", **asked)
            with (
                pytest.raises(anthropic.APIStatusError, match="in the middle of its answer"),
                client.messages.stream(model="coder", **asked) as stream,
            ):
                stream.until_done()

    async with running(script) as rig:
        await trio.to_thread.run_sync(use, f"http://127.0.0.1:{rig.port}")
