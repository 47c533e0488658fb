"""Sessions of HTTP/2 with faults in them: whatever comes, no bug of ours ends a connection."""

import os
import random
from collections.abc import Iterator
from contextlib import suppress

import h2.config
import h2.connection
import pytest
import trio
from loguru import logger

from .rig import PATIENCE_S, Wire, answer, answering, running
from .test_http2 import PATH, frame

SESSIONS = int(os.environ.get("AIPROXY_TEST_SESSIONS", "150"))
"""Thousands take minutes."""
AUTHORITY = (":authority", "localhost")


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    said: list[str] = []
    sink = logger.add(said.append, level="WARNING")
    yield said
    logger.remove(sink)


def session(chance: random.Random) -> bytearray:
    """Return what a client sends for some requests, all of it right."""
    http = h2.connection.H2Connection(h2.config.H2Configuration())
    http.initiate_connection()
    for _ in range(chance.randrange(1, 5)):
        number = http.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), AUTHORITY]
        fields.append((":path", chance.choice([PATH, "/health", "/v1/completions"])))
        whole = chance.random() < 0.5
        if not whole and chance.random() < 0.5:
            fields.append(("content-length", "5"))
        http.send_headers(number, fields, end_stream=whole)
        if not whole:
            with suppress(h2.exceptions.ProtocolError):
                http.send_data(number, b"hello", end_stream=chance.random() < 0.7)
        if chance.random() < 0.3:
            with suppress(h2.exceptions.ProtocolError):
                http.reset_stream(number)
        if chance.random() < 0.3:
            http.update_settings({4: chance.randrange(100_000)})
    return bytearray(http.data_to_send())


def spoil(data: bytearray, chance: random.Random) -> None:
    """Change a byte, take some out, or put a frame in."""
    at = chance.randrange(24, len(data))
    match chance.randrange(4):
        case 0 | 1:
            data[at] = chance.randrange(256)
        case 2:
            del data[at : at + chance.randrange(1, 20)]
        case 3:
            payload = chance.randbytes(chance.randrange(20))
            kind, flags = chance.randrange(11), chance.randrange(256)
            data[at:at] = frame(kind, flags, chance.choice([0, 1, 2, 3, 5]), payload)


async def test_faults_are_the_client_s(warnings: list[str]) -> None:
    """Each session ends, in whatever way; nothing of it is left, and nothing was a bug."""
    chance = random.Random(7540)

    async def script(wire: Wire) -> None:
        with suppress(trio.BrokenResourceError):
            await answering(answer(b"served"))(wire)

    async with running(script) as rig:
        for _ in range(SESSIONS):
            data = session(chance)
            for _ in range(chance.randrange(6)):
                spoil(data, chance)
            cut = chance.randrange(1, len(data))
            wire = await rig.connect()
            with suppress(trio.BrokenResourceError):
                await wire.send(bytes(data[:cut]))
                await wire.send(bytes(data[cut:]))
                with trio.move_on_after(0.005):
                    while await wire.more():
                        pass
            wire.close(reset=chance.random() < 0.5)
        with trio.fail_after(PATIENCE_S):
            while rig.conductor.in_flight or rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert len(rig.records) > SESSIONS / 10
    assert warnings == []
