"""What is malformed is refused, ends its connection, and is never forwarded."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio

from proxyserver.http._client_side import IDLE_S
from proxyserver.http._exchange import BODY_GAP_S

from .malformed import BODY, CHUNKS, HEADS, PATHS, TOLERABLE, Malformed
from .rig import PATIENCE_S, Wire, raw, running

SMUGGLED = b"GET /service/coder/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""Whoever reads on behind a malformed request finds this."""


@attrs.define(eq=False)
class Listening:
    """A proxy, and all that its upstream got from it."""

    port: int
    forwarded: list[bytes] = attrs.field(factory=list)
    """A connection each."""

    async def answers(self, data: bytes) -> bytes:
        """Send the bytes; return all that comes until the proxy closes, however it does."""
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", self.port))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, wire, data)
                try:
                    return await wire.rest()
                except trio.BrokenResourceError:
                    return wire.buffer
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            wire.close()


async def _send(wire: Wire, data: bytes) -> None:
    try:
        await wire.send(data)
    except trio.BrokenResourceError:
        return  # The proxy does not want the rest.


Lane = Callable[[], AbstractAsyncContextManager[Listening]]


pytestmark = pytest.mark.lane("fast", "hypercorn")


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    """Run a proxy with an upstream that reads all it gets, and answers nothing."""

    async def record(wire: Wire) -> None:
        number = len(proxy.forwarded)
        proxy.forwarded.append(b"")
        try:
            while True:
                proxy.forwarded[number] = wire.buffer
                if not await wire.more():
                    return
        except trio.BrokenResourceError:
            return

    async with running(record) as rig:
        proxy = Listening(rig.port)
        yield proxy


LANES: tuple[Lane, ...] = (listening,)
"""Every way in which requests are read has to refuse the same."""


@pytest.fixture(params=LANES, ids=lambda lane: lane.__name__)
def lane(request: pytest.FixtureRequest) -> Lane:
    found: Lane = request.param
    return found


def status(answers: bytes) -> int | None:
    """Return the status of the only answer; None: there is none."""
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)
    assert len(statuses) <= 1, f"more than one was answered: {answers!r}"
    return int(statuses[0]) if statuses else None


@pytest.mark.parametrize("case", HEADS, ids=lambda case: case.name)
async def test_a_malformed_head_is_refused(lane: Lane, case: Malformed) -> None:
    """With an error, then the connection closes, and the upstream knows nothing of it."""
    async with lane() as proxy:
        answers = await proxy.answers(case.data + SMUGGLED)
        assert status(answers) in case.statuses
        assert proxy.forwarded == []


@pytest.mark.parametrize("path", PATHS, ids=("streamed", "held"))
@pytest.mark.parametrize("name", CHUNKS)
async def test_a_malformed_body_is_refused(lane: Lane, path: bytes, name: str) -> None:
    """With an error; an upstream that has begun to read it never gets one that looks whole."""
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    async with lane() as proxy:
        answers = await proxy.answers(head + CHUNKS[name] + SMUGGLED)
        assert status(answers) in (400, 413, 431)
        for got in proxy.forwarded:
            assert not got.endswith(b"\r\n0\r\n\r\n")
            assert b"smuggled" not in got


@pytest.mark.parametrize("wrong", TOLERABLE)
async def test_what_is_tolerated_is_not_passed_on(lane: Lane, wrong: bytes) -> None:
    """A lane that frames bodies anew may read more than it writes."""
    head = raw("POST /service/coder/x HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
    async with lane() as proxy:
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", proxy.port))
        await wire.send(head + TOLERABLE[wrong])
        with trio.fail_after(PATIENCE_S):
            while not wire.buffer and not any(BODY in got for got in proxy.forwarded):
                with trio.move_on_after(0.01):
                    await wire.more()
        assert wire.buffer.startswith((b"", b"HTTP/1.1 400 "))
        assert not any(wrong in got for got in proxy.forwarded)
        wire.close()


@pytest.mark.parametrize("drips", [False, True], ids=["stalls", "drips"])
async def test_a_slow_head_is_not_waited_for(
    lane: Lane, drips: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """A client has so long for its whole head, however it divides it."""
    async with lane() as proxy:
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", proxy.port))
        begun_at = trio.current_time()
        await wire.send(b"GET /service/coder/x HTTP/1.1\r\nHost: localhost\r\nX-A: ")

        async def drip() -> None:
            while drips:
                await trio.sleep(5)
                await _send(wire, b"a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            await wire.wait_closed(IDLE_S + 10)
            nursery.cancel_scope.cancel()
        assert 5 < trio.current_time() - begun_at <= IDLE_S + 5
        assert proxy.forwarded == []
        wire.close()


async def test_a_slow_body_is_not_waited_for(
    lane: Lane, autojump_clock: trio.testing.MockClock
) -> None:
    """A body that is held, of which no more comes, is answered with 408."""
    head = raw("POST /v1/completions HTTP/1.1\nHost: localhost\nContent-Length: 10", b"{")
    async with lane() as proxy:
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", proxy.port))
        await wire.send(head)
        await trio.sleep(BODY_GAP_S + 1)
        assert (await wire.head()).startswith(b"HTTP/1.1 408 ")
        await wire.wait_closed(10)
        assert proxy.forwarded == []
        wire.close()
