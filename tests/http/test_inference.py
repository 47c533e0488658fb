"""The right service gets a request, and who gets none learns why."""

import json
from typing import Any

import openai
import pytest
import trio

from proxycore import Reason, ServiceId
from proxyserver.http import Outcome
from proxyserver.http.errors import STATUS
from proxyserver.refused import Refused
from tests.rig.certificates import client_context

from .rig import Rig, Server, Wire, answer, answering, chunk, raw, running


async def post(rig: Rig, path: str, body: bytes, *headers: str) -> tuple[int, bytes, Any]:
    """Post a body; return status, head and the answer, read as JSON."""
    more = "".join(f"{header}\n" for header in headers)
    head = f"POST {path} HTTP/1.1\nHost: localhost\nConnection: close\n{more}"
    wire = await rig.ask(raw(f"{head}Content-Length: {len(body)}", body))
    answered = await wire.head()
    return int(answered.split()[1]), answered, json.loads(await wire.rest())


async def echo(wire: Wire) -> None:
    """Answer with what was asked: the request line, and the body as text."""
    head = await wire.head()
    lengths = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    body = await wire.exactly(sum(lengths))
    seen = {"line": head.split(b"\r\n")[0].decode(), "body": body.decode("latin-1")}
    await wire.send(answer(json.dumps(seen).encode(), "Connection: close"))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("coder", "coder"),
        ("gpt-4o", "coder"),
        ("tiny", "many/tiny"),
        ("small", "many/tiny"),
        ("many/tiny", "many/tiny"),
    ],
)
async def test_the_model_chooses_the_service(path: str, model: str, asked: str) -> None:
    """By its id, by an alias, by the name of a model within, which alone its server knows."""
    body = json.dumps({"model": model, "input": "x"}).encode()
    async with running(echo) as rig:
        status, _, seen = await post(rig, f"{path}?a=%20", body)
        assert rig.conductor.asked == [asked]
    assert status == 200
    told = "tiny" if asked == "many/tiny" else model
    sent = json.dumps({"model": told, "input": "x"})
    assert seen == {"line": f"POST {path}?a=%20 HTTP/1.1", "body": sent}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "invalid_json"),
        (b"\xff\xfe\x00", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"9" * 10_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"{}", 400, "missing_model"),
        (b'{"model": 3}', 400, "missing_model"),
        (b'{"model": ""}', 400, "missing_model"),
        (b'{"model": "codre"}', 404, "model_not_found"),
        (b'{"model": "\\ud800"}', 404, "model_not_found"),
        (b" " * 1_000_001, 413, "request_too_large"),
    ],
)
async def test_bad_bodies_are_told_apart(body: bytes, status: int, code: str) -> None:
    """No JSON, no model, a wrong one, too much: each has its code, and starts nothing."""
    async with running(server=Server(1_000_000)) as rig:
        got, _, error = await post(rig, "/v1/chat/completions", body)
        assert rig.conductor.asked == []
    assert (got, error["error"]["code"]) == (status, code)
    if b"codre" in body:
        assert "did you mean 'coder'" in error["error"]["message"]


async def test_a_body_that_grows_too_large_is_refused() -> None:
    """Without a declared length, too: the limit is on what is held."""
    async with running(server=Server(1000)) as rig:
        wire = await rig.ask(
            raw("POST /v1/completions HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
        )
        await wire.send(chunk(b" " * 600) + chunk(b" " * 600))
        assert (await wire.head()).startswith(b"HTTP/1.1 413 ")


async def test_large_bodies_have_one_limit_together() -> None:
    """A fifth body of the largest size is refused while four wait, and the place comes back."""
    body = b'{"model": "coder"}'.ljust(1000)
    async with running(answering(b""), server=Server(1000)) as rig:
        rig.conductor.hold = trio.Event()
        head = "POST /v1/completions HTTP/1.1\nHost: localhost\nContent-Length: 1000"
        held = [await rig.ask(raw(head, body)) for _ in range(4)]
        with trio.fail_after(1):
            while rig.conductor.waiting < 4:  # noqa: ASYNC110
                await trio.sleep(0.001)
        status, answered, error = await post(rig, "/v1/completions", body)
        assert (status, error["error"]["code"]) == (503, "server_busy")
        assert b"retry-after: 1\r\n" in answered
        held[0].close()
        await rig.record(1)
        await rig.ask(raw(head, body))
        with trio.fail_after(1):
            while rig.conductor.waiting < 4:  # noqa: ASYNC110
                await trio.sleep(0.001)


@pytest.mark.parametrize("again_s", [1.2, None])
@pytest.mark.parametrize("reason", Reason)
async def test_every_refusal_has_its_status(reason: Reason, again_s: float | None) -> None:
    """The code is the reason's own; a program learns when to try again (rounded up), or not to."""
    async with running() as rig:
        rig.conductor.refusals["coder"] = Refused(ServiceId("coder"), reason, "why", again_s)
        status, head, error = await post(rig, "/service/coder/x", b"")
        record = await rig.record()
    assert status == STATUS[reason]
    assert error["error"]["code"] == reason.value
    assert error["error"]["message"] == "why"
    assert (b"retry-after: 2\r\n" in head) == (again_s is not None)
    assert (b"x-should-retry: false\r\n" in head) == (again_s is None)
    assert (record.service, record.run, record.outcome) == ("coder", None, Outcome.REJECTED)


async def test_an_unknown_service_is_a_404_with_near_names() -> None:
    """The name may be percent-encoded, and broken."""
    async with running() as rig:
        status, _, error = await post(rig, "/service/cod%65x/x", b"")
        assert (status, error["error"]["code"]) == (404, "service_not_found")
        assert "'codex'; did you mean 'coder'" in error["error"]["message"]
        status, _, _ = await post(rig, "/service/%FF%00/x", b"")
        assert status == 404


@pytest.mark.parametrize("path", ["/sleep", "//%73leep/?level=1", "/sleep/../SLEEP"])
async def test_what_administers_a_service_is_closed(path: str) -> None:
    """The answer names the setting that would open it, and nothing is started for it."""
    async with running() as rig:
        status, _, error = await post(rig, f"/service/coder{path}", b"")
        assert rig.conductor.asked == []
    assert (status, error["error"]["code"], error["error"]["type"]) == (
        403,
        "admin_path",
        "invalid_request_error",
    )
    assert '`allow_admin: ["/sleep"]`' in error["error"]["message"]


async def test_what_administers_a_model_is_closed() -> None:
    """A query can do it, on a path of our own."""
    async with running() as rig:
        path = "/v1/chat/completions?%61utoload=true"
        status, _, error = await post(rig, path, b'{"model": "coder"}')
        assert (status, error["error"]["code"]) == (403, "admin_path")
        assert rig.conductor.asked == []


async def test_an_encoded_slash_does_not_end_the_id() -> None:
    """The path is split before it is decoded, and not decoded for the upstream."""
    async with running(echo) as rig:
        status, _, _ = await post(rig, "/service/coder%2Fx/y", b"")
        assert status == 404
        status, _, seen = await post(rig, "/service/c%6Fder", b"")
        assert (status, seen["line"]) == (200, "POST / HTTP/1.1")


@pytest.mark.lane("fast", "tls", "hypercorn")
async def test_the_openai_sdk_is_content() -> None:
    """Streaming, errors and the list of models, as the real client reads them."""

    async def script(wire: Wire) -> None:
        head = await wire.head()
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-len")]
        await wire.exactly(int(lengths[0].split(b":")[1]))
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for word in ("Hello", " world"):
            delta = {"choices": [{"index": 0, "delta": {"content": word}}]}
            await wire.send(chunk(b"data: " + json.dumps(delta).encode() + b"\n\n"))
        await wire.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with running(script) as rig:

        def talk() -> tuple[str, list[str], str]:
            http = openai.DefaultHttpxClient(verify=client_context())
            with openai.OpenAI(
                base_url=f"{rig.url}/v1", api_key="none", max_retries=0, http_client=http
            ) as client:
                stream = client.chat.completions.create(
                    model="coder", messages=[{"role": "user", "content": "hi"}], stream=True
                )
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
                models = [model.id for model in client.models.list()]
                try:
                    client.embeddings.create(model="codre", input="x")
                except openai.NotFoundError as error:
                    return text, models, str(error.code)
                raise AssertionError("an unknown model was found")

        said = await trio.to_thread.run_sync(talk)
    assert said == (
        "Hello world",
        ["coder", "gpt-4o", "many", "many/tiny", "tiny", "small"],
        "model_not_found",
    )
