"""Whoever keeps the proxy waiting, on either side and at whatever point, is left, and that is told.

Everything goes through networks that swallow, on both lanes, by a clock that is moved.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs
import pytest
import trio

from proxyserver.http import Outcome, Patience, RequestRecord, UpstreamConnections
from proxyserver.http._client_side import HEAD_S, IDLE_S, SEND_S
from proxyserver.http._exchange import BODY_GAP_S
from proxyserver.http.upstream import CONNECT_S
from proxyserver.runtime import Endpoint
from tests.rig.faults import Ending, Way

from .rig import EVENTS, GET, PATIENCE_S, Wire, answer, chunk, raw
from .test_faults import Faulty, faulty

PATIENT = Patience(first_byte_s=400.0, stall_s=200.0)
LATE_S = 2.5
"""The sweepers look once a second."""
TOKEN = b"data: 1\n\n"
STREAM = EVENTS + chunk(TOKEN) * 3 + b"0\r\n\r\n"
LARGE = 30_000_000
"""More than all buffers on the way."""
Clock = trio.testing.MockClock


def swallow(way: Way, after: int = 0) -> None:
    """Let a way swallow what comes after so many bytes."""
    way.ends_after, way.ending = after, Ending.SILENCE


@attrs.frozen
class Told:
    """What a client gets, and when."""

    data: bytes
    after_s: float

    @property
    def status(self) -> int:
        return int(self.data.split()[1])

    @property
    def code(self) -> str:
        return str(json.loads(self.data.partition(b"\r\n\r\n")[2])["error"]["code"])


async def told(wire: Wire, *, within_s: float) -> Told:
    """Return all that comes until the connection ends, or until the error is there."""
    began_at, data = trio.current_time(), b""
    with trio.fail_after(within_s + LATE_S):
        while b'"error"' not in data or not data.rstrip().endswith(b"}"):
            try:
                piece = await wire.stream.receive_some(65536)
            except trio.BrokenResourceError:
                break
            if not piece:
                break
            data += piece
    return Told(data, trio.current_time() - began_at)


async def send_much(wire: Wire, size: int = LARGE) -> None:
    """Send a request with a large body, as far as anybody takes it."""
    head = "PUT /service/coder/x HTTP/1.1\nHost: localhost"
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await wire.stream.send_all(raw(f"{head}\nContent-Length: {size}", bytes(size)))


async def record_of(it: Faulty, within_s: float = PATIENCE_S) -> RequestRecord:
    """Wait for the record of the one request, and for all places to be free."""
    with trio.fail_after(within_s):
        while not it.rig.records:  # noqa: ASYNC110
            await trio.sleep(0.1)
    assert (it.rig.conductor.waiting, it.rig.conductor.in_flight) == (0, 0)
    return it.rig.records[0]


# The upstream's side


@contextmanager
def deaf_port() -> Iterator[int]:
    """Yield a port where nobody accepts, and the kernel takes no more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for filler in fillers:
                filler.close()


async def test_a_service_that_does_not_accept(autojump_clock: Clock) -> None:
    """504 after 5 s."""
    async with faulty() as it:
        with deaf_port() as port:
            it.rig.conductor.connections["coder"] = UpstreamConnections(Endpoint("127.0.0.1", port))
            got = await told(await it.ask(), within_s=CONNECT_S)
        record = await record_of(it)
    assert (got.status, got.code) == (504, "upstream_timeout")
    assert b"did not accept a connection within 5 s" in got.data
    assert got.after_s + 0.1 >= CONNECT_S
    assert record.outcome is Outcome.REJECTED


async def test_a_service_that_does_not_answer(autojump_clock: Clock) -> None:
    """504 after `first_byte_s`."""
    async with faulty(patience=PATIENT) as it:
        swallow(it.far.down)
        got = await told(await it.ask(), within_s=PATIENT.first_byte_s)
        record = await record_of(it)
    assert (got.status, got.code) == (504, "upstream_timeout")
    assert b"sent no answer within 400 s" in got.data
    assert got.after_s >= PATIENT.first_byte_s - LATE_S
    assert record.outcome is Outcome.REJECTED


async def test_a_service_that_does_not_take_the_request(autojump_clock: Clock) -> None:
    """The same while the body is on its way, from when nothing goes on any more."""
    async with faulty(patience=PATIENT) as it:
        swallow(it.far.up, 100_000)
        wire = await it.ask(b"")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_much, wire)
            got = await told(wire, within_s=PATIENT.first_byte_s + 10)
            nursery.cancel_scope.cancel()
        record = await record_of(it)
    assert (got.status, got.code) == (504, "upstream_timeout")
    assert got.after_s >= PATIENT.first_byte_s - LATE_S
    assert record.outcome is Outcome.REJECTED


@pytest.mark.parametrize("reply", [STREAM, answer(bytes(100))], ids=["events", "length"])
async def test_a_service_that_stops_within_its_answer(reply: bytes, autojump_clock: Clock) -> None:
    """The answer breaks after `stall_s`; a stream of events tells why before it does."""
    async with faulty(reply, patience=PATIENT) as it:
        swallow(it.far.down, len(EVENTS) + 2 * len(chunk(TOKEN)))
        got = await told(await it.ask(), within_s=PATIENT.stall_s)
        record = await record_of(it)
    assert got.status == 200
    assert got.after_s >= PATIENT.stall_s - LATE_S
    assert not got.data.endswith(b"0\r\n\r\n")
    assert (b'"upstream_timeout"' in got.data) == (reply is STREAM)
    assert (record.status, record.outcome) == (200, Outcome.BROKEN)


async def test_an_answer_that_trickles_for_ever(autojump_clock: Clock) -> None:
    """Something comes all the time, and still it ends after `total_s`."""
    hasty = Patience(total_s=50.0)
    async with faulty(EVENTS + chunk(TOKEN) * 10_000, patience=hasty) as it:
        it.far.down.rate = 100.0
        got = await told(await it.ask(), within_s=hasty.total_s)
        record = await record_of(it)
    assert got.status == 200
    assert got.after_s >= hasty.total_s - LATE_S
    assert record.outcome is Outcome.BROKEN


@pytest.mark.lane("fast")
async def test_a_websocket_that_says_nothing(autojump_clock: Clock) -> None:
    """It counts as an answer that pauses."""
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    async with faulty(switching + b"Connection: Upgrade\r\n\r\n", patience=PATIENT) as it:
        wire = await it.ask(
            raw(
                "GET /service/coder/ws HTTP/1.1\nHost: localhost\nConnection: Upgrade\n"
                "Upgrade: websocket\nSec-WebSocket-Version: 13\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            )
        )
        assert b" 101 " in await wire.head()
        began_at = trio.current_time()
        await wire.wait_closed(PATIENT.stall_s + LATE_S)
        assert trio.current_time() - began_at >= PATIENT.stall_s - LATE_S
        record = await record_of(it)
    assert record.outcome is Outcome.BROKEN


# The client's side


@pytest.mark.parametrize("asked", [b"", GET], ids=["new", "kept"])
async def test_a_client_that_asks_nothing(asked: bytes, autojump_clock: Clock) -> None:
    """Its connection is closed after 75 s, without a word."""
    async with faulty() as it:
        wire = await it.ask(asked)
        if asked:
            await wire.head()
            await wire.exactly(52)
        began_at = trio.current_time()
        await wire.wait_closed(IDLE_S + LATE_S)
        assert trio.current_time() - began_at >= IDLE_S - LATE_S
        assert wire.buffer == b""


async def test_a_client_that_does_not_end_its_head(autojump_clock: Clock) -> None:
    """408 after 60 s, however busily it trickles."""
    async with faulty() as it:
        it.near.up.rate = 0.5
        wire = await it.ask(GET.replace(b"Host:", b"X: " + bytes(b"x" * 1000) + b"\r\nHost:"))
        got = await told(wire, within_s=HEAD_S)
    assert (got.status, got.code) == (408, "request_timeout")
    assert got.after_s >= HEAD_S - LATE_S


@pytest.mark.parametrize("path", ["/service/coder/x", "/v1/completions"])
async def test_a_client_that_stops_within_its_body(path: str, autojump_clock: Clock) -> None:
    """408 after 60 s; the service gets no end of it, and is left."""
    async with faulty() as it:
        wire = await it.ask(raw(f"POST {path} HTTP/1.1\nHost: localhost\nContent-Length: 9", b"{"))
        got = await told(wire, within_s=BODY_GAP_S)
        record = await record_of(it)
        for upstream in it.rig.upstreams:
            with trio.fail_after(PATIENCE_S):
                while upstream.stream.socket.fileno() >= 0:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            assert upstream.buffer.endswith(b"\r\n\r\n{")
    assert (got.status, got.code) == (408, "request_timeout")
    assert got.after_s >= BODY_GAP_S - LATE_S
    assert record.outcome is Outcome.REJECTED


async def test_a_client_that_takes_nothing(autojump_clock: Clock) -> None:
    """It counts as gone after 300 s, and its service is left."""
    async with faulty(answer(bytes(LARGE)), patience=PATIENT) as it:
        swallow(it.near.down, 1000)
        await it.ask()
        began_at = trio.current_time()
        record = await record_of(it, SEND_S + 2 * LATE_S)
        assert trio.current_time() - began_at >= SEND_S - LATE_S
    assert record.outcome is Outcome.CLIENT_GONE
