"""Between failing networks, a broken answer never looks whole, and the client learns the cause."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import h11
import pytest
import trio

from proxyserver.http import Outcome, Patience, UpstreamConnections
from proxyserver.runtime import Endpoint
from tests.rig.faults import Ending, FaultProxy, fault_proxy

from .rig import EVENTS, GET, PROMPT_S, Rig, Script, Wire, answer, chunk, raw, running

BODY = bytes(range(97, 123)) * 2
LENGTH = answer(BODY, "Content-Type: text/plain")
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk(BODY[:20])
    + chunk(BODY[20:])
    + b"0\r\n\r\n"
)
STREAM = EVENTS + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\n" + BODY


@attrs.define(eq=False)
class Faulty:
    """A proxy between two networks."""

    rig: Rig
    near: FaultProxy
    """Between client and proxy."""
    far: FaultProxy
    """Between proxy and upstream."""

    async def ask(self, request: bytes = GET) -> Wire:
        wire = Wire(await trio.open_tcp_stream("127.0.0.1", self.near.port))
        self.rig.clients.append(wire)
        await wire.send(request)
        return wire


def replying(reply: bytes) -> Script:
    """Return a script that gives this answer to each head, and takes its time."""

    async def script(wire: Wire) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await wire.stream.receive_some(65536):
                wire.buffer += data
                if wire.buffer.endswith(b"\r\n\r\n"):
                    await wire.stream.send_all(reply)

    return script


@asynccontextmanager
async def faulty(
    reply: bytes = LENGTH, *, patience: Patience | None = None
) -> AsyncIterator[Faulty]:
    """Run everything, with an upstream that gives this answer to every request without a body."""
    async with running(replying(reply), patience=patience) as rig:
        host, port = rig.conductor.connections["coder"].authority.decode().split(":")
        async with fault_proxy(int(port)) as far, fault_proxy(rig.port) as near:
            rig.conductor.connections["coder"] = UpstreamConnections(Endpoint(host, far.port))
            yield Faulty(rig, near, far)


@attrs.frozen
class Answer:
    """What a client makes of it."""

    status: int | None
    body: bytes
    whole: bool


async def read_answer(wire: Wire) -> Answer:
    """Read one answer as h11 does, up to its end or to the end of the connection."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
    http.send(h11.EndOfMessage())
    status, body = None, b""
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            return Answer(status, body, False)
        if event is h11.NEED_DATA:
            try:
                data = await wire.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return Answer(status, body, False)
            http.receive_data(bytes(data))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, body, True)
        else:
            return Answer(status, body, False)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [Ending.CLOSE, Ending.RESET])
@pytest.mark.parametrize("reply", [LENGTH, CHUNKED, STREAM], ids=["length", "chunked", "events"])
async def test_an_answer_cut_anywhere_is_an_error_or_breaks(
    reply: bytes, ending: Ending, autojump_clock: trio.testing.MockClock
) -> None:
    """After every byte: in the head it is a 502, later what the client gets has no end."""
    head = reply.index(b"\r\n\r\n") + 4
    async with faulty(reply) as it:
        it.far.down.ending = ending
        for size in range(len(reply)):
            it.far.down.ends_after = size
            got = await read_answer(await it.ask())
            if size < head:
                error = json.loads(got.body)["error"]
                assert (got.status, got.whole, error["code"]) == (502, True, "upstream_error")
            else:
                assert (got.status, got.whole) == (200, False), f"after {size} bytes"
        it.far.down.ends_after = None
        assert (await read_answer(await it.ask())).whole


@pytest.mark.parametrize("size", [len(UNTIL_CLOSE) - len(BODY) + 1, len(UNTIL_CLOSE) - 1])
async def test_an_answer_without_framing_that_is_reset_breaks(size: int) -> None:
    """Closing is how such an answer ends, so only a reset tells that it was cut."""
    async with faulty(UNTIL_CLOSE) as it:
        it.far.down.ends_after, it.far.down.ending = size, Ending.RESET
        assert not (await read_answer(await it.ask())).whole


async def test_a_broken_answer_is_told_as_broken() -> None:
    """The record of the request says so, whatever the client sees."""
    async with faulty(CHUNKED) as it:
        it.far.down.ends_after = len(CHUNKED) - 1
        await read_answer(await it.ask())
        record = await it.rig.record()
    assert (record.status, record.outcome) == (200, Outcome.BROKEN)


@pytest.mark.parametrize(
    ("size", "ending", "said"),
    [
        (0, Ending.CLOSE, "closed the connection before it answered"),
        (0, Ending.RESET, "reset the connection before it answered"),
        (9, Ending.CLOSE, "closed the connection before it answered"),
        (9, Ending.RESET, "reset the connection before it answered"),
    ],
)
async def test_who_breaks_off_before_the_answer_is_told(
    size: int, ending: Ending, said: str
) -> None:
    """The error names the service and the cause."""
    async with faulty() as it:
        it.far.down.ends_after, it.far.down.ending = size, ending
        got = await read_answer(await it.ask())
    assert json.loads(got.body)["error"]["message"].startswith(f"service 'coder' {said}")


async def test_an_upstream_that_refuses_is_told() -> None:
    """Accepting, then resetting, is what the proxy of a starting container does: it passes."""
    async with faulty() as it:
        it.far.refuses = True
        got = await read_answer(await it.ask())
        assert (got.status, b"the connection before it answered" in got.body) == (502, True)
        it.far.refuses = False
        assert await read_answer(await it.ask()) == Answer(200, BODY, True)


async def test_a_silent_upstream_is_left_with_its_client() -> None:
    """In a hole before the head, and within the body: who asked may leave, and all is closed."""
    for size in (0, len(CHUNKED) - 10):
        async with faulty(CHUNKED) as it:
            it.far.down.ends_after, it.far.down.ending = size, Ending.SILENCE
            wire = await it.ask()
            with trio.fail_after(PROMPT_S):
                while it.far.down.passed < size or not it.far.up.passed:  # noqa: ASYNC110
                    await trio.sleep(0.001)
            wire.close()
            record = await it.rig.record()
            assert record.outcome is Outcome.CLIENT_GONE
            assert it.rig.conductor.in_flight == 0


@pytest.mark.slow
@pytest.mark.parametrize("ending", [Ending.CLOSE, Ending.RESET])
@pytest.mark.parametrize(
    "request_",
    [
        raw("PUT /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: 52", BODY),
        raw(
            "PUT /service/coder/x HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked",
            chunk(BODY) + b"0\r\n\r\n",
        ),
    ],
    ids=["length", "chunked"],
)
async def test_a_request_cut_anywhere_never_looks_whole(request_: bytes, ending: Ending) -> None:
    """After every byte: the upstream gets no request, or one without its end, and is left."""
    async with faulty() as it:
        it.near.up.ending = ending
        for size in range(len(request_)):
            it.near.up.ends_after = size
            before = len(it.rig.upstreams)
            wire = await it.ask(request_)
            await wire.wait_closed()
            await trio.testing.wait_all_tasks_blocked()
            for upstream in it.rig.upstreams[before:]:
                await upstream.wait_closed()
                assert not _is_whole(upstream.buffer), f"after {size} bytes"
        assert it.rig.conductor.in_flight == 0


def _is_whole(request: bytes) -> bool:
    http = h11.Connection(h11.SERVER)
    http.receive_data(request)
    try:
        while (event := http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return True
    except h11.RemoteProtocolError:
        return False
    return False


@pytest.mark.parametrize("reply", [LENGTH, CHUNKED, STREAM], ids=["length", "chunked", "events"])
async def test_slow_networks_change_nothing(
    reply: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """A few bytes at a time, late, on both sides: the same answer."""
    async with faulty(reply) as it:
        expected = await read_answer(await it.ask())
        for way in (it.near.up, it.near.down, it.far.up, it.far.down):
            way.rate, way.latency_s = 100.0, 0.1
        asked_at = trio.current_time()
        got = await read_answer(await it.ask())
        took_s = trio.current_time() - asked_at
    assert (got, got.whole) == (expected, True)
    assert took_s > len(reply) / 100.0
