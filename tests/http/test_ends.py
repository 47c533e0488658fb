"""However a request ends, both sides learn it at once, and nothing broken ever looks whole."""

import json

import pytest
import trio

from proxycore import Cause
from proxyserver.http import Outcome
from proxyserver.http._exchange import LINGER_S
from proxyserver.runtime import ExitReport

from .rig import EVENTS, GET, LANE, PATIENCE_S, PROMPT_S, Script, Wire, chunk, raw, running

# As much as the kernel takes before anybody reads: whatever a client sends beyond that stands
# before its leaving, which then cannot be seen.
UNREAD = 60_000


@pytest.mark.parametrize(("length", "sent"), [(0, 0), (3, 1), (UNREAD, UNREAD), (3_000_000, 0)])
async def test_a_client_that_leaves_the_queue_frees_its_place(length: int, sent: int) -> None:
    """Leaving is seen while waiting, whatever of the body has come, and nobody has read."""
    async with running() as rig:
        rig.conductor.hold = trio.Event()
        wire = await rig.ask(
            raw(f"POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: {length}")
        )
        await wire.send(bytes(sent))
        with trio.fail_after(PROMPT_S):
            while not rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        wire.close()
        record = await rig.record()
        assert (rig.conductor.waiting, record.outcome) == (0, Outcome.CLIENT_GONE)
        assert rig.upstreams == []


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
@pytest.mark.parametrize("stage", ["uploading", "held back", "thinking", "streaming", "pipelining"])
async def test_a_client_that_leaves_ends_the_upstream_request(stage: str) -> None:
    """Wherever a request stands, leaving closes the connection to the upstream at once."""
    reached, gone = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        if stage in ("streaming", "pipelining"):
            await wire.send(EVENTS + chunk(b"data: 1\n\n"))
        reached.set()
        if stage == "held back":
            await left.wait()
        await wire.wait_closed(PATIENCE_S)
        gone.set()

    left = trio.Event()
    size = {"uploading": 10, "held back": 30_000_000}.get(stage, 0)
    async with running(script) as rig:
        wire = await rig.ask(
            raw(f"POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: {size}")
        )
        with trio.move_on_after(0.3):
            await wire.stream.send_all(bytes(5 if stage == "uploading" else size))
        if stage == "pipelining":
            await wire.send(GET)
        await reached.wait()
        if stage in ("streaming", "pipelining"):
            await wire.until(b"data: 1\n\n")
        # Bytes that are still on their way would hold up an orderly end.
        wire.close(reset=stage == "held back")
        record = await rig.record()
        left.set()
        with trio.fail_after(PROMPT_S):
            await gone.wait()
    assert record.outcome is Outcome.CLIENT_GONE


async def dies_at_once(wire: Wire) -> None:
    await wire.head()


async def dies_in_the_head(wire: Wire) -> None:
    await wire.head()
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-")


async def frames_no_body(wire: Wire) -> None:
    await wire.head()
    await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n")


async def speaks_no_http(wire: Wire) -> None:
    await wire.head()
    await wire.send(b"220 mail.example ESMTP\r\n\r\n")


async def listens_to_nobody(wire: Wire) -> None:
    wire.close()


@pytest.mark.parametrize(
    "script",
    [dies_at_once, dies_in_the_head, frames_no_body, speaks_no_http, listens_to_nobody],
)
async def test_an_upstream_that_dies_before_the_head_is_a_502_with_the_cause(
    script: Script,
) -> None:
    """The answer tells what broke, and why the run ended if that comes to be known."""
    async with running() as rig:

        async def dying(wire: Wire) -> None:
            await script(wire)
            rig.conductor.reports["coder"] = ExitReport(
                Cause("gpu_oom", "out of memory on gpu0"), 1, False, ()
            )

        async with running(dying) as below:
            rig.conductor.connections["coder"] = below.conductor.connections["coder"]
            wire = await rig.ask(GET)
            head = await wire.head()
            length = int(head.lower().split(b"content-length: ")[1].split()[0])
            error = json.loads(await wire.exactly(length))["error"]
            record = await rig.record()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert error["code"] == "upstream_error"
    assert error["message"].startswith("service 'coder' ")
    assert error["message"].endswith(": out of memory on gpu0")
    assert (record.status, record.outcome) == (502, Outcome.REJECTED)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
    ],
    ids=["length", "between chunks", "within a chunk"],
)
async def test_a_broken_answer_never_looks_whole(begun: bytes, version: str) -> None:
    """What the client gets is short of its length, has no last chunk, or ends in a reset."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(begun)

    async with running(script) as rig:
        wire = await rig.ask(GET.replace(b"1.1", version.encode()))
        head = await wire.head()
        reset = False
        try:
            body = await wire.rest()
        except trio.BrokenResourceError:
            body, reset = wire.buffer, True
        record = await rig.record()
    assert b"half" in body
    assert not body.endswith(b"0\r\n\r\n")
    framed = b"content-length" in head.lower() or b"chunked" in head.lower()
    if not framed and rig.socket is None and LANE.get() != "h2":  # UNIX sockets know no reset.
        assert reset, "closing is how such a body ends, so it must not just close"
    assert (record.status, record.outcome) == (200, Outcome.BROKEN)


async def test_a_close_delimited_answer_that_is_reset_never_looks_whole() -> None:
    """An upstream without framing that breaks off (a reset) breaks the client's answer, too."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await sent.wait()

    sent = trio.Event()
    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.until(b"half")
        rig.conductor.connections["coder"].close()
        body = await wire.rest()
        sent.set()
        assert (await rig.record()).outcome is Outcome.BROKEN
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_broken_event_stream_says_so_before_it_breaks() -> None:
    """The last event is an error; the chunked body still has no end."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: 1\n\n"))

    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.head()
        body = await wire.rest()
    event = body.split(b"data: ")[2].split(b"\n\n")[0]
    assert json.loads(event)["error"]["code"] == "upstream_error"
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_broken_event_is_not_completed() -> None:
    """An error after half an event would be read as a part of it."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: {"))

    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.head()
        assert await wire.rest() == chunk(b"data: {")


@pytest.mark.parametrize("how", ["stopped", "reset", "closed"])
@pytest.mark.parametrize("stage", ["uploading", "thinking", "streaming"])
async def test_a_run_that_ends_is_told_wherever_a_request_stands(
    stage: str, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    """By force (the conductor closes all connections of a run), or by itself: the client learns it.

    Idle connections go as well: nobody reaches what is left of the run.
    """
    reached, ended = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.head()
        if stage == "streaming":
            await wire.send(EVENTS + chunk(b"data: 1\n\n"))
        reached.set()
        await ending.wait()
        if how == "stopped":
            await wire.wait_closed(PATIENCE_S)
        wire.close(reset=how == "reset")
        ended.set()

    ending = trio.Event()
    sent, size = (5, 100) if stage == "uploading" else (0, 0)
    async with running(script) as rig:
        head = f"POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: {size}"
        wire = await rig.ask(raw(head, bytes(sent)))
        await reached.wait()
        if stage == "streaming":
            await wire.until(b"data: 1\n\n")
        if how == "stopped":
            rig.conductor.connections["coder"].close()
        ending.set()
        told = await wire.until(b"}}")
        with trio.fail_after(PROMPT_S):
            await ended.wait()
        await trio.sleep(LINGER_S)  # The client might still send.
        record = await rig.record()
        assert rig.conductor.in_flight == 0
        if how == "stopped":
            assert (await rig.get("/service/coder/x"))[0] == 502
    words = {"stopped": b"was stopped", "reset": b"reset the conn", "closed": b"closed the conn"}
    # Closing with a body unread is a reset.
    assert any(words[one] in told for one in (how, "reset" if how == "closed" else how))
    assert b'"upstream_error"' in told
    if stage == "streaming":
        assert (record.status, record.outcome) == (200, Outcome.BROKEN)
    else:
        assert (record.status, record.outcome) == (502, Outcome.REJECTED)
