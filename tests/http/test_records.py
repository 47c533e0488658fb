"""What is known of a request when it is over: tokens and times as its service told them."""

import gzip
import json

import pytest
import trio

from proxyserver.http import Outcome, RequestRecord
from proxyserver.wire import Usage

from .rig import EVENTS, PROMPT_S, Script, Wire, answer, chunk, raw, running

BODY = b'{"model": "gpt-4o", "stream": true}'
CHAT = raw(
    f"POST /v1/chat/completions HTTP/1.1\nHost: localhost\nContent-Length: {len(BODY)}", BODY
)
FIGURES = {"prompt_tokens": 12, "completion_tokens": 34}
WHOLE = {"model": "m", "choices": [{"finish_reason": "stop"}], "usage": FIGURES}
TOKEN = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
LAST = b"data: " + json.dumps(WHOLE).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"
KIND = "Content-Type: application/json"


def replying(*parts: bytes, pause_s: float = 0.0) -> Script:
    """Return a script that answers one chat in these parts, each after a pause."""

    async def script(wire: Wire) -> None:
        await wire.head()
        await wire.exactly(len(BODY))
        for part in parts:
            await wire.send(part)
            await trio.sleep(pause_s)

    return script


async def told(*parts: bytes, request: bytes = CHAT) -> RequestRecord:
    """Return the record of a chat that is answered so."""
    async with running(replying(*parts)) as rig:
        wire = await rig.ask(request.replace(b"Host:", b"Connection: close\r\nHost:"))
        await wire.rest()
        return await rig.record()


@pytest.mark.parametrize(
    "parts",
    [
        (answer(json.dumps(WHOLE).encode(), KIND),),
        (b"HTTP/1.0 200 OK\r\n" + KIND.encode() + b"\r\n\r\n" + json.dumps(WHOLE).encode(),),
        (EVENTS, *(chunk(TOKEN),) * 40, chunk(LAST), chunk(DONE), END),
        (EVENTS + chunk(TOKEN) * 40 + chunk(LAST) + chunk(DONE) + END,),
        (EVENTS, chunk(TOKEN), chunk(LAST + DONE)[:60], chunk(LAST + DONE)[60:], END),
        (answer(TOKEN + LAST + DONE, "Content-Type: text/event-stream"),),
    ],
    ids=["length", "until close", "events", "at once", "in halves", "events by length"],
)
async def test_tokens_are_told_as_the_service_counted_them(parts: tuple[bytes, ...]) -> None:
    """Whatever frames the answer, and however it comes."""
    record = await told(*parts)
    assert record.usage == Usage(12, 34, model="m", finish="stop")
    assert (record.model, record.service, record.outcome) == ("gpt-4o", "coder", Outcome.ANSWERED)
    assert record.streamed == (TOKEN in b"".join(parts))


async def test_without_figures_the_pieces_of_a_stream_are_counted() -> None:
    """And that is marked; the last event is no token."""
    record = await told(EVENTS, chunk(TOKEN) * 5, chunk(TOKEN), chunk(DONE), END)
    assert record.usage == Usage(output=6, counted=True)


async def test_what_was_written_for_a_client_that_left_is_counted() -> None:
    """Its figures never come."""
    async with running(replying(EVENTS, chunk(TOKEN) * 3, pause_s=PROMPT_S)) as rig:
        wire = await rig.ask(CHAT)
        await wire.until(TOKEN)
        wire.close()
        record = await rig.record()
    assert record.outcome is Outcome.CLIENT_GONE
    assert record.usage == Usage(output=3, counted=True)


@pytest.mark.parametrize(
    "parts",
    [
        (answer(gzip.compress(json.dumps(WHOLE).encode()), KIND, "Content-Encoding: gzip"),),
        (answer(json.dumps(WHOLE).encode(), "Content-Type: text/plain"),),
    ],
    ids=["packed", "text"],
)
async def test_other_answers_are_left_alone(parts: tuple[bytes, ...]) -> None:
    """What is packed is not unpacked, and only what may have figures is looked at."""
    assert (await told(*parts)).usage is None


async def test_the_first_token_is_told_apart_from_the_head(autojump_clock: object) -> None:
    """Servers send heads long before they have read the prompt."""
    async with running(replying(EVENTS, chunk(TOKEN), END, pause_s=2.0)) as rig:
        await (await rig.ask(CHAT)).until(END)
        record = await rig.record()
    assert record.first_byte_s == pytest.approx(0, abs=0.5)
    assert record.first_token_s == pytest.approx(2, abs=0.5)
