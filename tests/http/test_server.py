"""The listening side: what it takes, what it refuses, and how it ends."""

import json
import os
from contextlib import suppress

import pytest
import trio
from starlette.types import Message

from proxyserver.http import ListenError, Outcome, TcpPlace, serve
from proxyserver.http._asgi_exchange import CLIENT_GONE, HEAD, AsgiExchange
from proxyserver.http._peer import KEPT_MAX, SMALL, Kept
from proxyserver.http.errors import ApiError
from proxyserver.wire import scan_request

from .rig import EVENTS, GET, PATIENCE_S, Wire, answer, answering, chunk, raw, running


@pytest.mark.lane("fast")
async def test_a_taken_port_is_told() -> None:
    """Before anything is started, with what to do about it."""
    async with running() as rig:
        place = TcpPlace("127.0.0.1", rig.port)
        with pytest.raises(
            ListenError,
            match=rf"port {rig.port} .* is taken by \S+ \(pid {os.getpid()}\); .* server.port",
        ):
            await serve(rig.app, [place], stop=trio.Event(), drain_s=lambda: 1)


async def test_stopping_lets_answers_finish() -> None:
    """No new connection is taken, idle ones are closed, running ones get their end."""
    go_on = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"one"))
        await go_on.wait()
        await wire.send(chunk(b"two") + b"0\r\n\r\n")

    async with running(script) as rig:
        idle = await rig.connect()
        wire = await rig.ask(GET)
        await wire.until(b"one")
        rig.stop.set()
        await idle.wait_closed()
        with pytest.raises(OSError, match=r"connect|No such file"):
            await rig.connect()
        assert not rig.ended.is_set()
        go_on.set()
        assert (await wire.rest()).endswith(b"0\r\n\r\n")
        with trio.fail_after(PATIENCE_S):
            await rig.ended.wait()
        assert (await rig.record()).outcome is Outcome.ANSWERED


async def test_stopping_cuts_what_does_not_finish() -> None:
    """After the limit the answer breaks, and the server ends all the same."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"one"))
        await wire.wait_closed(PATIENCE_S)

    async with running(script, drain_s=0.1) as rig:
        wire = await rig.ask(GET)
        await wire.until(b"one")
        rig.stop.set()
        with trio.fail_after(PATIENCE_S):
            await rig.ended.wait()
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")
        assert (await rig.record()).outcome is Outcome.CUT


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end() -> None:
    """Even with a send in progress, stopping is bounded."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            await wire.stream.send_all(bytes(100000000))
        except trio.BrokenResourceError:
            return

    async with running(script, drain_s=0.1) as rig:
        wire = await rig.ask(GET)
        await wire.head()
        rig.stop.set()
        with trio.fail_after(PATIENCE_S):
            await rig.ended.wait()


@pytest.mark.lane("fast", "unix", "hypercorn")
async def test_too_many_connections_are_turned_away() -> None:
    """With an answer, and only until one of the others ends."""
    async with running(connections_max=1) as rig:
        first = await rig.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await first.head()
        second = await rig.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await second.head()).startswith(b"HTTP/1.1 503 ")
        assert b"server_busy" in await second.rest()
        first.close()
        with trio.fail_after(PATIENCE_S):
            while (await rig.get("/health"))[0] != 200:
                pass


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
@pytest.mark.parametrize(
    "upgrade",
    [
        "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\nUpgrade: foo",
    ],
)
async def test_an_upgrade_is_ignored(upgrade: str) -> None:
    """The answer comes by HTTP/1.1, as if it had not been asked; the connection stays."""
    async with running(answering(answer(b"ok"))) as rig:
        wire = await rig.connect()
        for _ in range(2):
            await wire.send(raw(f"GET /service/coder/x HTTP/1.1\nHost: localhost\n{upgrade}"))
            assert (await wire.head()).startswith(b"HTTP/1.1 200 ")
            assert await wire.exactly(2) == b"ok"


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_a_client_that_asked_for_an_upgrade_and_leaves_is_seen() -> None:
    """h11 stops reading after such a request; the kernel still tells us."""
    async with running() as rig:
        rig.conductor.hold = trio.Event()
        wire = await rig.ask(
            raw("GET /service/coder/x HTTP/1.1\nHost: localhost\nConnection: upgrade\nUpgrade: h2c")
        )
        with trio.fail_after(PATIENCE_S):
            while not rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        wire.close()
        assert (await rig.record()).outcome is Outcome.CLIENT_GONE


@pytest.mark.lane("hypercorn")
@pytest.mark.parametrize(
    "rest",
    [
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 9\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ],
)
async def test_a_websocket_is_refused_clearly(rest: str) -> None:
    """501, with the reason, however good the handshake is; and it is accounted for."""
    async with running() as rig:
        wire = await rig.ask(
            raw(
                "GET /service/coder/ws HTTP/1.1\nHost: localhost\nConnection: Upgrade\n"
                f"Upgrade: websocket\n{rest}"
            )
        )
        assert (await wire.head()).startswith(b"HTTP/1.1 501 ")
        assert b"websocket_unsupported" in await wire.rest()
        assert (await rig.record()).status == 501


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_there_are_no_tunnels() -> None:
    """An upstream that agreed to one would leave both sides with nothing to say."""
    async with running() as rig:
        wire = await rig.ask(raw("CONNECT /service/coder/x HTTP/1.1\nHost: localhost"))
        assert (await wire.head()).startswith(b"HTTP/1.1 400 ")
        assert not rig.conductor.waiting


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70000, 431, "invalid_request"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "invalid_request",
        ),
        (
            raw(
                "POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: 3\n"
                "Transfer-Encoding: chunked",
                b"0\r\n\r\n",
            ),
            400,
            "invalid_request",
        ),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "forbidden_host"),
        (
            raw(
                "POST /api/v1/service/coder/stop HTTP/1.1\nHost: localhost\n"
                "Origin: http://evil.example"
            ),
            403,
            "forbidden_origin",
        ),
    ],
)
async def test_a_bad_head_is_told_in_json(request_: bytes, status: int, code: str) -> None:
    """Also where the HTTP library, not the application, refuses it."""
    async with running() as rig:
        wire = await rig.ask(request_)
        head = await wire.head()
        length = int(head.lower().split(b"content-length: ")[1].split()[0])
        body = json.loads(await wire.exactly(length))
    assert int(head.split()[1]) == status
    assert body["error"]["code"] == code


async def test_a_whole_url_is_a_target_like_a_path() -> None:
    """Clients that believe us to be a proxy of the other kind get their answer."""
    async with running() as rig:
        wire = await rig.ask(b"GET http://localhost:1/health HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        assert (await wire.head()).startswith(b"HTTP/1.1 200 ")


async def test_an_error_to_a_client_that_still_sends_arrives() -> None:
    """A large body to an unknown path: the answer comes, and the server forgets the client."""
    async with running() as rig:
        wire = await rig.ask(
            raw("POST /nowhere HTTP/1.1\nHost: localhost\nContent-Length: 5000000")
        )
        await wire.send(bytes(5000000))
        assert (await wire.head()).startswith(b"HTTP/1.1 404 ")
        await rig.record()


async def test_the_end_of_an_answer_does_not_wait_for_a_full_queue(autojump_clock: object) -> None:
    """The server takes the end only when its queue of body parts has room, so we empty it."""
    ending, emptied = trio.Event(), trio.Event()

    async def receive() -> Message:
        if ending.is_set():
            emptied.set()
        else:
            await ending.wait()
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ending.set()
            await emptied.wait()

    head = scan_request(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
    scope = {"scheme": "http", "state": {HEAD: head, CLIENT_GONE: lambda: False}}
    with trio.fail_after(60):
        await AsgiExchange(scope, receive, send).fail(ApiError(404, "not_found", "no"))


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
@pytest.mark.slow
async def test_a_client_that_never_stops_sending_is_left() -> None:
    """After its answer and a moment of patience the connection closes, and nothing stays behind."""
    async with running(connections_max=1) as rig:
        wire = await rig.ask(
            raw("POST /nowhere HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
        )
        with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
            while True:
                await wire.stream.send_all(chunk(bytes(60_000)))
        await rig.record()
        with trio.fail_after(PATIENCE_S):
            while (await rig.get("/health"))[0] != 200:
                pass


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_every_answer_has_an_id_and_a_date() -> None:
    """An id that is unfit for a log is replaced."""
    async with running() as rig:
        _, head, _ = await rig.get("/health", "X-Request-Id: mine")
        assert b"X-Request-Id: mine\r\n" in head
        assert b"\r\nDate: " in head
        _, head, _ = await rig.get("/health", f"X-Request-Id: {'x' * 200}")
        assert b"xxx" not in head


@pytest.mark.lane("fast")
async def test_who_waits_keeps_little_when_many_do() -> None:
    """Of their bodies no more is read than a little each, once all keep much together."""
    waiting, size = 30, 200_000
    head = f"POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: {size}"
    for before, most in ((0, size), (KEPT_MAX, SMALL)):
        Kept.total = before
        async with running(answering(answer(b""))) as rig, trio.open_nursery() as nursery:
            rig.conductor.hold = trio.Event()
            wires = [await rig.connect() for _ in range(waiting)]
            for wire in wires:
                nursery.start_soon(wire.send, raw(head, bytes(size)))
            with trio.fail_after(PATIENCE_S):
                while rig.conductor.waiting < waiting:  # noqa: ASYNC110
                    await trio.sleep(0.001)
            kept = Kept.total - before
            nursery.cancel_scope.cancel()
        # All have left.
        assert 0 < kept <= waiting * most
        assert Kept.total == before
        Kept.total = 0
