"""A client gets the very bytes that the service wrote, however they were cut on the way."""

import json
import random
import re
from functools import partial

import h11
import pytest
import trio

from proxyserver.http import UpstreamConnections
from proxyserver.runtime import Endpoint
from proxyserver.runtime._ports import free_port
from tests.rig.faults import fault_proxy
from tests.rig.llama import Llama

from .rig import Wire, chunk, raw, running

STREAMS = 20
LOAD_S = 20.0
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
TEXT = {"prompt": "Once upon a time"}


def bodies(data: bytes) -> list[bytes]:
    """Return the bodies of the whole answers in what a server sent on one connection."""
    found = []
    http = h11.Connection(h11.CLIENT)
    http.receive_data(data)
    while http.trailing_data[0] or http.their_state is h11.SEND_RESPONSE:
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
        http.send(h11.EndOfMessage())
        body = b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, "an answer has no end"
            if isinstance(event, h11.Data):
                body += event.data
        found.append(body)
        if http.our_state is h11.DONE and http.their_state is h11.DONE:
            http.start_next_cycle()
        else:
            break
    return found


async def whole_answer(wire: Wire) -> bytes:
    """Read one answer, by its length or its chunks."""
    head = await wire.head()
    if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        return head + await wire.exactly(int(length[1]))
    return head + await wire.until(b"\r\n0\r\n\r\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_random_chunks_arrive_as_they_were(seed: int) -> None:
    """Chunks of any size, written in pieces of any size, in many streams at once."""
    chance = random.Random(seed)
    written: dict[bytes, bytes] = {}

    async def script(wire: Wire) -> None:
        target = (await wire.head()).split()[1]
        body = b""
        sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(chance.randrange(1, 40)):
            piece = chance.randbytes(chance.choice((1, 2, 15, 16, 280, 4096, 65535, 65536)))
            body += piece
            sent += chunk(piece)
        sent += b"0\r\n\r\n"
        written[target] = body
        while sent:
            size = chance.choice((1, 3, 100, 1460, 70_000))
            await wire.send(sent[:size])
            sent = sent[size:]
            if chance.random() < 0.2:
                await trio.lowlevel.checkpoint()

    got: dict[bytes, bytes] = {}

    async def client(number: int) -> None:
        wire = await rig.ask(raw(f"GET /service/coder/{number} HTTP/1.1\nHost: localhost"))
        (got[b"/%d" % number],) = bodies(await whole_answer(wire))

    async with running(script) as rig, trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(client, number)
    assert got == written
    assert len(got) == STREAMS


@pytest.mark.llama
async def test_a_real_server_streams_through_unchanged(llama: Llama) -> None:
    """What llama-server wrote into its socket is what the client read, events and all.

    In chunks, one answer after the other on connections that are kept, on both lanes.
    """
    port = free_port()
    command = [str(llama.parts.server), *llama.arguments("127.0.0.1", port)]
    async with trio.open_nursery() as nursery:
        serve = partial(
            trio.run_process,
            command,
            env=dict(llama.environment),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        nursery.start_soon(serve)
        await _wait_loaded(port)
        async with running() as rig, fault_proxy(port) as recorder:
            recorder.down.kept = bytearray()
            endpoint = Endpoint("127.0.0.1", recorder.port)
            rig.conductor.connections["coder"] = UpstreamConnections(endpoint)
            read = []
            wire = await rig.connect()
            for path, stream, more in (
                ("/v1/chat/completions", False, CHAT),
                ("/v1/completions", False, TEXT),
                ("/v1/chat/completions", True, CHAT),
                ("/v1/completions", True, TEXT),
            ):
                body = json.dumps({"model": "coder", "stream": stream, "max_tokens": 40, **more})
                head = f"POST {path} HTTP/1.1\nHost: localhost\nContent-Length: {len(body)}"
                await wire.send(raw(head, body.encode()))
                read += bodies(await whole_answer(wire))
            assert recorder.accepted == 2, "it closes after a stream, and only then"
            recorded = bodies(bytes(recorder.down.kept))
            told = [(await rig.record(number)).usage for number in range(4)]
        nursery.cancel_scope.cancel()
    assert read == recorded
    assert [body.endswith(b"data: [DONE]\n\n") for body in read] == [False, False, True, True]
    # Each says at its end what it took.
    for usage, answer in zip(told, read, strict=True):
        assert usage is not None
        assert not usage.counted
        assert (usage.output or 0) >= 1
        assert (usage.input or 0) > 1
        assert usage.output_s
        assert usage.finish in ("stop", "length")
        assert b'"predicted_n":%d,' % (usage.output or 0) in answer


async def _wait_loaded(port: int) -> None:
    with trio.fail_after(LOAD_S):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
                continue
            wire = Wire(stream)
            await wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answered = await wire.rest()
            wire.close()
            if answered.startswith(b"HTTP/1.1 200 "):
                return
            await trio.sleep(0.02)
