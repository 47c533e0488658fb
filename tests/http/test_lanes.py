"""What is new with two lanes: changing them, splicing, streaming what is large, losing patience."""

import json

import pytest
import trio

from proxyserver.http import Outcome, Patience

from .rig import (
    EVENTS,
    GET,
    PATIENCE_S,
    PROMPT_S,
    Rig,
    Server,
    Wire,
    answer,
    answering,
    chunk,
    raw,
    running,
)

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHAT = "POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Type: application/json"


async def answer_of(wire: Wire) -> tuple[bytes, bytes]:
    """Return head and body of an answer with a length."""
    head = await wire.head()
    return head, await wire.exactly(length_of(head))


def length_of(head: bytes) -> int:
    return int(head.lower().split(b"content-length: ")[1].split()[0])


async def test_a_connection_changes_lanes_between_requests() -> None:
    """There and back, one after the other and pipelined; each answer is its own request's."""
    async with running(answering(answer(b"served"))) as rig:
        wire = await rig.connect()
        for _ in range(2):
            await wire.send(GET)
            assert (await answer_of(wire))[1] == b"served"
            await wire.send(HEALTH)
            assert b'"status"' in (await answer_of(wire))[1]
        await wire.send(GET + HEALTH + GET + HEALTH + GET)
        for number in range(5):
            _, body = await answer_of(wire)
            assert (body == b"served") is (number % 2 == 0)
        assert len(rig.upstreams) == 1


async def test_a_head_that_comes_in_pieces_finds_its_lane() -> None:
    """Byte by byte, for either lane."""
    async with running(answering(answer(b"served"))) as rig:
        wire = await rig.connect()
        for request in (GET, HEALTH, GET):
            for at in range(len(request)):
                await wire.send(request[at : at + 1])
                await trio.lowlevel.checkpoint()
            _, body = await answer_of(wire)
            assert (body == b"served") is (request is GET)


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_old_clients_go_by_the_other_lane() -> None:
    """HTTP/1.0 knows no chunks: the answer ends with the connection."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: 1\n\n") + b"0\r\n\r\n")

    async with running(script) as rig:
        wire = await rig.ask(b"GET /service/coder/x HTTP/1.0\r\n\r\n")
        assert b"chunked" not in (await wire.head()).lower()
        assert await wire.rest() == b"data: 1\n\n"


@pytest.mark.parametrize("closes", ["client", "server"])
async def test_the_last_request_of_a_connection_closes_it(closes: str) -> None:
    """Whoever says so; the answer is whole."""
    said = "\nConnection: close" if closes == "client" else ""
    async with running(answering(answer(b"served"))) as rig:
        wire = await rig.ask(raw(f"GET /service/coder/x HTTP/1.1\nHost: localhost{said}"))
        assert (await answer_of(wire))[1] == b"served"
        if closes == "server":
            rig.stop.set()
        await wire.wait_closed()


@pytest.mark.lane("fast", "tls", "unix")
async def test_a_websocket_is_spliced() -> None:
    """After the handshake both sides say what they like, until one ends."""
    handshake = raw(
        "GET /service/coder/ws HTTP/1.1\nHost: localhost\nConnection: keep-alive, Upgrade\n"
        "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\n"
        "Origin: http://localhost:3000"
    )
    seen: list[bytes] = []
    ended = trio.Event()

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nhello"
        )
        while await wire.more():
            await wire.send(wire.buffer.upper())
            wire.buffer = b""
        ended.set()

    async with running(script) as rig:
        wire = await rig.ask(handshake + b"early ")
        head = await wire.head()
        assert await wire.exactly(11) == b"helloEARLY "
        for _ in range(3):
            await wire.send(b"\x00frame\xff")
            assert await wire.exactly(7) == b"\x00FRAME\xff"
        wire.close()
        record = await rig.record()
        with trio.fail_after(PROMPT_S):
            await ended.wait()
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in seen[0]
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: x\r\n" in head
    assert (record.status, record.bytes_in, record.bytes_out) == (101, 27, 32)


@pytest.mark.lane("fast", "tls", "unix")
async def test_a_websocket_that_its_server_ends_is_over() -> None:
    """And one that the server does not want is an answer like any other."""

    async def script(wire: Wire) -> None:
        head = await wire.head()
        if b"/no" in head:
            await wire.send(answer(b"no", status="403 Forbidden"))
            return
        await wire.send(b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbye")

    upgrade = "HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: websocket"
    async with running(script) as rig:
        wire = await rig.ask(raw(f"GET /service/coder/yes {upgrade}"))
        await wire.head()
        assert await wire.rest() == b"bye"
        assert (await rig.record()).outcome is Outcome.ANSWERED
        wire = await rig.ask(raw(f"GET /service/coder/no {upgrade}"))
        assert (await answer_of(wire))[1] == b"no"
        assert (await rig.record(1)).status == 403


async def test_an_upgrade_that_nobody_asked_for_is_a_fault() -> None:
    """What would follow is no HTTP."""
    async with running(answering(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\nsecret")) as rig:
        wire = await rig.ask(GET)
        head, body = await answer_of(wire)
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"secret" not in body


async def echo(wire: Wire) -> None:
    """Answer with the body that came, length or chunks, undone."""
    head = await wire.head()
    if b"chunked" in head:
        body = b""
        while size := int((await wire.until(b"\r\n"))[:-2], 16):
            body += await wire.exactly(size)
            await wire.until(b"\r\n")
        await wire.until(b"\r\n")
    else:
        body = await wire.exactly(length_of(head))
    await wire.send(answer(body, "Connection: close"))


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("model", ["coder", "small"])
async def test_a_large_body_streams_once_its_model_is_known(framing: str, model: str) -> None:
    """Beyond `body_max`, and with the name that its server knows; nothing else of it changes."""
    filler = "x" * 2_000_000
    body = json.dumps({"n": 1, "model": model, "messages": filler}).encode()
    async with running(echo, server=Server(100_000)) as rig:
        wire = await rig.connect()

        async def send() -> None:
            if framing == "length":
                await wire.send(raw(f"{CHAT}\nContent-Length: {len(body)}", body))
                return
            await wire.send(raw(f"{CHAT}\nTransfer-Encoding: chunked"))
            for at in range(0, len(body), 70_001):
                await wire.send(chunk(body[at : at + 70_001]))
            await wire.send(b"0\r\n\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            _, got = await answer_of(wire)
        record = await rig.record()
    told = "tiny" if model == "small" else model
    assert json.loads(got) == {"n": 1, "model": told, "messages": filler}
    assert (record.status, record.bytes_in) == (200, len(body))


async def test_a_second_model_in_the_rest_is_refused() -> None:
    """The service might take that one; it never gets the end of the body."""
    body = json.dumps({"model": "coder", "messages": "x" * 2_000_000}).encode()
    body = body[:-1] + b', "model": "other"}'
    ended = trio.Event()

    async def script(wire: Wire) -> None:
        await wire.wait_closed(PATIENCE_S)
        ended.set()

    async with running(script) as rig:
        wire = await rig.ask(raw(f"{CHAT}\nContent-Length: {len(body)}"))
        with trio.fail_after(PATIENCE_S):
            await wire.stream.send_all(body)
        head, told = await answer_of(wire)
        with trio.fail_after(PATIENCE_S):
            await ended.wait()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"twice" in told


async def test_a_form_says_its_model_too() -> None:
    """As the speech endpoints of OpenAI's API have it."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\0\xff\r\n'
        b"--b--\r\n"
    )
    async with running(echo) as rig:
        head = CHAT.replace("application/json", "multipart/form-data; boundary=b")
        wire = await rig.ask(raw(f"{head}\nContent-Length: {len(form)}", form))
        _, got = await answer_of(wire)
        assert rig.conductor.asked == ["many/tiny"]
    assert got == form.replace(b"small", b"tiny")


@pytest.mark.lane("fast", "tls", "unix", "hypercorn")
async def test_a_body_that_is_not_wanted_is_not_asked_for() -> None:
    """A client that expects a word gets the refusal instead, and the connection ends."""
    async with running() as rig:
        wire = await rig.ask(
            raw(
                "POST /service/nobody/x HTTP/1.1\nHost: localhost\nContent-Length: 5\n"
                "Expect: 100-continue"
            )
        )
        head, _ = await answer_of(wire)
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nconnection: close\r\n" in head
        await wire.wait_closed()


PATIENT = Patience(first_byte_s=5.0, stall_s=3.0, total_s=20.0)


async def lose_patience(rig: Rig, begun: bytes) -> tuple[bytes, bytes, float]:
    """Ask; return all that came, split after `begun`, and after how long."""
    asked_at = trio.current_time()
    wire = await rig.ask(GET)
    with trio.fail_after(100):
        data = b""
        while piece := await wire.stream.receive_some(65536):
            data += piece
            if b'"error"' in data:
                break
    return data[: len(begun)], data[len(begun) :], trio.current_time() - asked_at


async def test_a_service_that_says_nothing_is_given_up(autojump_clock: object) -> None:
    """504 after `first_byte_s`, and its connection is closed."""

    async def script(wire: Wire) -> None:
        await wire.head()
        while await wire.stream.receive_some(100):
            pass
        ended.set()

    ended = trio.Event()
    async with running(script, patience=PATIENT) as rig:
        head, body, took_s = await lose_patience(rig, b"HTTP/1.1 504 ")
        await ended.wait()
        record = await rig.record()
    assert (head, record.status) == (b"HTTP/1.1 504 ", 504)
    assert b"upstream_timeout" in body
    assert 5 <= took_s <= 8


async def test_a_service_that_stops_in_its_answer_is_given_up(autojump_clock: object) -> None:
    """After `stall_s`, counted from its last byte; the stream tells, and breaks."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS)
        for _ in range(3):
            await trio.sleep(2)
            await wire.send(chunk(b"data: 1\n\n"))
        while await wire.stream.receive_some(100):
            pass

    async with running(script, patience=PATIENT) as rig:
        _, body, took_s = await lose_patience(rig, b"HTTP/1.1 200 ")
        record = await rig.record()
    assert body.count(b"data: 1") == 3
    assert b"upstream_timeout" in body
    assert b"0\r\n\r\n" not in body
    assert 9 <= took_s <= 12
    assert record.outcome is Outcome.BROKEN


async def test_an_answer_without_end_is_ended(autojump_clock: object) -> None:
    """After `total_s`, though something comes all the time."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS)
        with trio.move_on_after(100):
            while True:
                await wire.stream.send_all(chunk(b"data: 1\n\n"))
                await trio.sleep(0.5)

    async with running(script, patience=PATIENT) as rig:
        _, body, took_s = await lose_patience(rig, b"HTTP/1.1 200 ")
    assert b"upstream_timeout" in body
    assert 20 <= took_s <= 22


@pytest.mark.slow
async def test_hundreds_who_leave_leave_nothing_behind() -> None:
    """No connection, no place, no task: whoever comes next is served."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.send(EVENTS + chunk(b"data: 1\n\n"))
        await wire.wait_closed(PATIENCE_S)

    async with running(script) as rig:
        wire = await rig.ask(GET)
        await wire.until(b"data: 1\n\n")
        wire.close()
        await rig.record()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(300):
            wire = await rig.ask(GET)
            await wire.until(b"data: 1\n\n")
            wire.close()
        await rig.record(300)
        with trio.fail_after(PATIENCE_S):
            while trio.lowlevel.current_statistics().tasks_living > before:  # noqa: ASYNC110
                await trio.sleep(0.001)
        connections = rig.conductor.connections["coder"]
        assert (rig.conductor.in_flight, connections._active) == (0, {})
        assert {record.outcome for record in rig.records} == {Outcome.CLIENT_GONE}
