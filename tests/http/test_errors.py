"""What clients are told when something is wrong: every row of the table that they rely on."""

import json
import re
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
import trio

from proxycore import Reason, ServiceId
from proxyserver.refused import Refused

from .bombs import BOMBS, MIB, Bomb
from .keys import WITH_KEYS
from .rig import EVENTS, Rig, Server, Wire, chunk, raw, running

BODY = b'{"model": "coder", "messages": [{"role": "user", "content": "Hi"}]}'
SERVICE = ServiceId("coder")


@attrs.frozen
class Row:
    """One kind of error: how it comes about, and what the client gets."""

    status: int
    code: str
    prepare: Callable[[Rig], None] = lambda rig: None
    name: str = "coder"
    headers: tuple[bytes, ...] = ()
    says: str = ""


def refusing(reason: Reason, message: str, retry_after_s: float | None) -> Callable[[Rig], None]:
    def prepare(rig: Rig) -> None:
        rig.conductor.refusals["coder"] = Refused(SERVICE, reason, message, retry_after_s)

    return prepare


def asking_for_keys(rig: Rig) -> None:
    rig.settings.server = WITH_KEYS


OOM = "the GPU's memory is full (asked for 9 GiB); less `ctx` would help"
ROWS = {
    "no key": Row(401, "invalid_api_key", asking_for_keys),
    "an unknown name": Row(404, "_not_found", name="codre", says="did you mean 'coder'?"),
    "a full queue": Row(
        429,
        "queue_full",
        refusing(Reason.QUEUE_FULL, "256 wait", 2.2),
        headers=(b"retry-after: 3",),
    ),
    "never fits": Row(
        503,
        "insufficient_resources",
        refusing(Reason.NEVER_FITS, "needs 99 GiB", None),
        headers=(b"x-should-retry: false",),
        says="needs 99 GiB",
    ),
    "fails to start": Row(
        503,
        "service_failed",
        refusing(Reason.SERVICE_FAILED, OOM, 30.0),
        headers=(b"retry-after: 30",),
        says=OOM,
    ),
    "breaks off": Row(502, "upstream_error", says="closed the connection"),
    "starts too slowly": Row(
        504,
        "start_timeout",
        refusing(Reason.START_TIMEOUT, "no sign of life for 300 s", 10.0),
        headers=(b"retry-after: 10",),
    ),
    "waits too long": Row(
        504,
        "queue_timeout",
        refusing(Reason.QUEUE_TIMEOUT, "no place within 600 s", 8.0),
        headers=(b"retry-after: 8",),
    ),
}


def said_by(path: str, body: bytes) -> tuple[str | None, str]:
    """Return code and message of an error, which has the shape that clients of the path read."""
    told = json.loads(body)
    if path.startswith("/api/"):
        assert {*told} == {"error"}
        return None, told["error"]
    error = told["error"]
    if path.endswith("/messages"):
        assert ({*told}, {*error}) == ({"type", "error"}, {"type", "message"})
        return None, error["message"]
    assert ({*told}, {*error}) == ({"error"}, {"message", "type", "param", "code"})
    return error["code"], error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/service/{}/v1/x",
        "/service/{}/v1/messages",
        "/v1/chat/completions",
        "/v1/messages",
        "/api/chat",
    ],
)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_each_error_is_told_as_clients_read_it(row: Row, path: str) -> None:
    """In the path's own shape, with the request's own id, and when another try makes sense."""

    async def hang_up(wire: Wire) -> None:
        await wire.until(b'"Hi"}]')

    async with running(hang_up) as rig:
        row.prepare(rig)
        body = BODY.replace(b"coder", row.name.encode())
        head = (
            f"POST {path.format(row.name)} HTTP/1.1\nHost: localhost\nX-Request-Id: mine-1\n"
            f"Content-Type: application/json\nContent-Length: {len(body)}\nConnection: close"
        )
        wire = await rig.ask(raw(head, body))
        answered = await wire.head()
        code, message = said_by(path, await wire.rest())
    kind = "service" if path.startswith("/service") else "model"
    assert answered.startswith(b"HTTP/1.1 %d " % row.status)
    assert code in (None, f"{kind}{row.code}" if row.code.startswith("_") else row.code)
    lines = answered.lower().split(b"\r\n")
    for line in (b"x-request-id: mine-1", b"content-type: application/json", *row.headers):
        assert line in lines
    assert row.says in message
    assert not any(line.startswith(b"access-control") for line in lines)


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "TRACE", "PRI", "a" * 1000])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/chat/completions", b"POST"), ("/v1/models", b"GET"), ("/health", b"GET")],
)
async def test_an_unknown_method_is_told_which_there_are(
    method: str, path: str, allowed: bytes
) -> None:
    """405 with `Allow`, on the proxy's own paths; a service decides for itself."""
    async with running() as rig:
        status, head, said = await rig.get(path, method=method)
    (told,) = re.findall(rb"\r\nallow: ([^\r]*)", head, re.I)
    assert (status, json.loads(said)["error"]["code"]) == (405, "method_not_allowed")
    assert allowed in told.split(b", ")


async def test_a_stream_that_breaks_is_never_ended_cleanly() -> None:
    """An error as its last event, never `[DONE]`, then the body is aborted."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: 1\n\n"))

    async with running(script) as rig:
        wire = await rig.ask(raw("GET /service/coder/x HTTP/1.1\nHost: localhost"))
        await wire.head()
        said = await wire.rest()
    events = [line for line in said.split(b"\r\n") if line.startswith(b"data: ")]
    assert events[0] == b"data: 1\n\n"
    assert json.loads(events[1].removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert b"[DONE]" not in said
    assert not said.endswith(b"0\r\n\r\n")


async def test_a_body_that_does_not_say_its_model_in_time_is_too_large() -> None:
    """413, before the rest of it is sent."""
    async with running(server=Server(1000)) as rig:
        head = "POST /v1/completions HTTP/1.1\nHost: localhost\nContent-Length: 100000000"
        wire = await rig.ask(raw(head, b" " * 1001))
        assert (await wire.head()).startswith(b"HTTP/1.1 413 ")
        await wire.until(b'"code": "request_too_large"')


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_a_bomb_is_refused_while_it_comes(bomb: Bomb) -> None:
    """Of 100 MB a small part is read, and next to nothing is kept; no service is asked."""
    sent = 0

    async def send(wire: Wire) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            for piece in bomb.pieces():
                await wire.send(piece)
                sent += len(piece)

    head = (
        f"POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Type: {bomb.kind}\n"
        f"Content-Length: {101 * MIB}"
    )
    async with running(server=Server(64 * MIB)) as rig, trio.open_nursery() as nursery:
        wire = await rig.ask(raw(head))
        tracemalloc.start()
        nursery.start_soon(send, wire)
        try:
            assert (await wire.head()).startswith(b"HTTP/1.1 400 ")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            nursery.cancel_scope.cancel()
        await wire.until(f'"code": "{bomb.code}"'.encode())
        assert rig.conductor.asked == []
    assert peak < 8 * MIB
    assert sent < 16 * MIB
