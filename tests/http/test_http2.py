"""HTTP/2 beyond what it shares: many streams at once, their ends, and floods of frames."""

import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from proxyserver.http import Outcome
from proxyserver.http._client_side import IDLE_S, SEND_S
from proxyserver.http._http2 import RESETS_MAX, STREAMS_MAX, head_of
from proxyserver.wire import BadWire
from tests.rig.certificates import client_context

from .rig import EVENTS, LANE, PATIENCE_S, PROMPT_S, Rig, Wire, answer, answering, chunk, running

PATH = "/service/coder/x"


@attrs.define(eq=False)
class Client:
    """An HTTP/2 client that does what the test says, and no more."""

    wire: Wire
    http: h2.connection.H2Connection
    seen: list[h2.events.Event] = attrs.field(factory=list)

    async def ask(self, path: str = PATH, *, method: str = "GET", end: bool = True) -> int:
        number = self.http.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":path", path)]
        self.http.send_headers(number, [*pseudo, (":authority", "localhost")], end_stream=end)
        await self.flush()
        return number

    async def flush(self) -> None:
        await self.wire.send(self.http.data_to_send())

    async def until(
        self, kind: type[h2.events.Event], number: int | None = None
    ) -> h2.events.Event:
        """Return the next event of a kind (and a stream), however many others come before it."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for event in self.seen:
                    if isinstance(event, kind) and number in (None, getattr(event, "stream_id", 0)):
                        self.seen.remove(event)
                        return event
                assert await self.wire.more(), f"ended before {kind}: {self.seen}"
                data, self.wire.buffer = self.wire.buffer, b""
                self.seen += self.http.receive_data(data)
                await self.flush()

    async def body(self, number: int) -> bytes:
        """Return the whole answer's body."""
        await self.until(h2.events.StreamEnded, number)
        found = [event for event in self.seen if getattr(event, "stream_id", 0) == number]
        return b"".join(e.data for e in found if isinstance(e, h2.events.DataReceived))


async def client_of(rig: Rig, *, window: int | None = None) -> Client:
    config = h2.config.H2Configuration()
    client = Client(await rig.connect(), h2.connection.H2Connection(config))
    if window is not None:
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window}
        client.http.local_settings = Settings(client=True, initial_values=values)
    client.http.initiate_connection()
    await client.flush()
    await client.until(h2.events.RemoteSettingsChanged)
    return client


async def streams(wire: Wire) -> None:
    """Begin a stream of events, and leave it open."""
    await wire.head()
    await wire.send(EVENTS + chunk(b"data: 1\n\n"))
    await wire.wait_closed(PATIENCE_S)


async def test_prior_knowledge_is_enough() -> None:
    """Over plain TCP, and several requests at once on one connection."""

    async def script(wire: Wire) -> None:
        head = await wire.head()
        if b"slow" in head:
            await trio.sleep(0.05)
        await wire.send(answer(head.split()[1]))

    async with running(script) as rig:
        client = await client_of(rig)
        numbers = [await client.ask(f"{PATH}/{name}") for name in ("slow", "a", "b")]
        assert await client.body(numbers[2]) == b"/x/b"
        assert await client.body(numbers[1]) == b"/x/a"
        assert await client.body(numbers[0]) == b"/x/slow"


async def test_a_reset_ends_the_upstream_request_and_nothing_else() -> None:
    """At once; the connection and its other requests go on."""
    closed: list[Wire] = []

    async def script(wire: Wire) -> None:
        await streams(wire)
        closed.append(wire)

    async with running(script) as rig:
        client = await client_of(rig)
        first, second = await client.ask(), await client.ask()
        for number in (first, second):
            await client.until(h2.events.DataReceived, number)
        client.http.reset_stream(first, ErrorCodes.CANCEL)
        await client.flush()
        record = await rig.record()
        assert (record.outcome, rig.conductor.in_flight) == (Outcome.CLIENT_GONE, 1)
        with trio.fail_after(PROMPT_S):
            while not closed:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert len(closed) == 1


async def test_a_broken_answer_is_a_reset() -> None:
    """An answer that its service breaks off has no end."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"half"))

    async with running(script) as rig:
        client = await client_of(rig)
        number = await client.ask()
        reset = await client.until(h2.events.StreamReset, number)
        assert isinstance(reset, h2.events.StreamReset)
        assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        assert (await rig.record()).outcome is Outcome.BROKEN
        assert await client.body(await client.ask("/health")) != b""


async def test_a_body_that_is_held_back_holds_up_nobody() -> None:
    """Its window is its own: whoever waits with a large upload leaves room for the others."""
    async with running(answering(answer(b"served"))) as rig:
        rig.conductor.hold = trio.Event()
        client = await client_of(rig)
        for number_of_records in (1, 3, 5, 7, 9):
            number = await client.ask(method="POST", end=False)
            left = 200_000
            while size := min(left, client.http.local_flow_control_window(number), 16_384):
                client.http.send_data(number, bytes(size))
                left -= size
            await client.flush()
            assert 100_000 < left < 200_000
            assert await client.body(await client.ask("/health")) != b""
            client.http.reset_stream(number)
            await client.flush()
            # What it had sent counts no more: else there would be no room for the fifth.
            assert (await rig.record(number_of_records)).outcome is Outcome.CLIENT_GONE
        rig.conductor.hold.set()
        assert await client.body(await client.ask()) == b"served"


async def test_a_window_that_is_shut_stops_the_service(autojump_clock: object) -> None:
    """The proxy reads no more than it can pass on; who never opens it again is gone."""
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            for _ in range(1000):
                await wire.stream.send_all(bytes(100_000))
                sent += 100_000

    async with running(script) as rig:
        client = await client_of(rig, window=1000)
        await client.ask()
        with trio.fail_after(2 * SEND_S):
            while not rig.records:  # noqa: ASYNC110
                await trio.sleep(1)
        (record,) = rig.records
    assert record.outcome is Outcome.CLIENT_GONE
    assert sent < 20_000_000


@pytest.mark.parametrize(
    ("field", "status"), [(":authority", "403"), ("origin", "403"), ("x-odd", "404")]
)
async def test_names_of_strangers_are_refused(field: str, status: str) -> None:
    """`:authority` is what `Host` is elsewhere."""
    async with running() as rig:
        client = await client_of(rig)
        number = client.http.get_next_available_stream_id()
        fields = {":method": "GET", ":scheme": "http", ":path": "/no", ":authority": "localhost"}
        fields |= {field: "http://evil.example" if field == "origin" else "evil.example"}
        client.http.send_headers(number, list(fields.items()), end_stream=True)
        await client.flush()
        got = await client.until(h2.events.ResponseReceived, number)
        assert isinstance(got, h2.events.ResponseReceived)
        assert dict(got.headers)[b":status"] == status.encode()


@pytest.mark.parametrize(
    "field",
    [
        (b":path", b"/a b"),
        (b":path", b"/a\r\nx: y"),
        (b":method", b"CONNECT"),
        (b"x", b"a\r\nhost: evil"),
        (b"x", b"a\nb"),
        (b"x\r\ny", b"a"),
        (b"content-length", b"+5"),
        (b"transfer-encoding", b"gzip"),
    ],
)
def test_what_http1_would_read_otherwise_is_no_request(field: tuple[bytes, bytes]) -> None:
    """Whatever the library lets pass: nothing may become a line of its own."""
    fields = {b":method": b"GET", b":path": b"/", b":authority": b"localhost"} | dict([field])
    with pytest.raises(BadWire):
        head_of(list(fields.items()), whole=True)


async def test_idle_connections_end(autojump_clock: object) -> None:
    """With a word, after as long as others."""
    async with running() as rig:
        client = await client_of(rig)
        began_at = trio.current_time()
        said: list[h2.events.Event] = []
        with trio.fail_after(2 * IDLE_S):
            while data := await client.wire.stream.receive_some(9999):
                said += client.http.receive_data(bytes(data))
        assert IDLE_S <= trio.current_time() - began_at <= IDLE_S + 3
        assert isinstance(said[-1], h2.events.ConnectionTerminated)
        assert said[-1].error_code == ErrorCodes.NO_ERROR


async def test_the_library_httpx_is_content() -> None:
    """Over TLS; streams, errors, and many at once."""
    LANE.set("tls")

    async def script(wire: Wire) -> None:
        while True:
            while b"\r\n\r\n" not in wire.buffer:
                if not await wire.more():
                    return
            await wire.head()
            await wire.send(EVENTS + chunk(b"data: 1\n\n"))
            await trio.sleep(0.01)
            await wire.send(chunk(b"data: 2\n\n") + b"0\r\n\r\n")

    http = httpx.AsyncClient(http2=True, verify=client_context("h2", "http/1.1"), timeout=9)
    async with running(script) as rig, http:
        got: list[tuple[str, bytes]] = []

        async def one() -> None:
            response = await http.get(f"{rig.url}{PATH}")
            got.append((response.http_version, response.content))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
        assert got == [("HTTP/2", b"data: 1\n\ndata: 2\n\n")] * 50
        missing = await http.post(f"{rig.url}/v1/completions", json={"model": "no"})
        assert (missing.status_code, missing.http_version) == (404, "HTTP/2")


# Floods


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@asynccontextmanager
async def flooded(rig: Rig, data: bytes, times: int) -> AsyncIterator[Wire]:
    """Send the same again and again, reading nothing, until it is over or not taken."""
    client = await client_of(rig)
    with trio.move_on_after(2), suppress(trio.BrokenResourceError):
        for _ in range(times):
            await client.wire.stream.send_all(data)
    yield client.wire


FLOODS = {
    "settings": frame(4, 0, 0) * 1000,
    "pings": frame(6, 0, 0, bytes(8)) * 1000,
    "priorities": frame(2, 0, 1, bytes([0, 0, 0, 0, 15])) * 1000,
    "windows": frame(8, 0, 0, b"\0\0\0\1") * 1000,
    "empty data": frame(0, 0, 1) * 1000,
    "unknown": frame(99, 0, 0, bytes(100)) * 1000,
    "headers without end": frame(1, 0, 1, b"\x82") + frame(9, 0, 1, bytes([0x88]) * 10) * 1000,
    "garbage": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_floods_are_bounded(flood: str) -> None:
    """In memory, whoever reads nothing; others are served meanwhile."""
    async with running(answering(answer(b"served"))) as rig:
        tracemalloc.start()
        try:
            async with flooded(rig, FLOODS[flood], 300) as wire:
                _, peak = tracemalloc.get_traced_memory()
                other = await client_of(rig)
                assert await other.body(await other.ask()) == b"served"
                wire.close()
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


async def test_rapid_resets_end_the_connection() -> None:
    """CVE-2023-44487: to begin requests and reset them costs the client nothing, and us much."""
    async with running(streams) as rig:
        client = await client_of(rig)
        for _ in range(int(RESETS_MAX) + 50):
            number = client.http.get_next_available_stream_id()
            pseudo = [(":method", "GET"), (":scheme", "http"), (":path", PATH)]
            client.http.send_headers(number, [*pseudo, (":authority", "localhost")])
            client.http.reset_stream(number)
        await client.flush()
        told = await client.until(h2.events.ConnectionTerminated)
        assert isinstance(told, h2.events.ConnectionTerminated)
        assert told.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        await rig.record(int(RESETS_MAX) - 1)
        assert rig.conductor.in_flight == 0


async def test_too_many_streams_end_the_connection() -> None:
    """A client knows how many there may be."""
    async with running(streams) as rig:
        client = await client_of(rig)
        client.http.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.http.remote_settings.acknowledge()
        for _ in range(STREAMS_MAX + 1):
            number = client.http.get_next_available_stream_id()
            pseudo = [(":method", "GET"), (":scheme", "http"), (":path", PATH)]
            client.http.send_headers(number, [*pseudo, (":authority", "localhost")])
        await client.flush()
        await client.until(h2.events.ConnectionTerminated)
        await client.wire.wait_closed(PATIENCE_S)
        assert rig.conductor.in_flight == 0
