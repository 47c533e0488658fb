"""A request of Ollama's API that a server of OpenAI's answers: its body, and the answer."""

import json
import time

import attrs
import trio

from proxyserver.request_rules import BodyRules
from proxyserver.surfaces import ollama
from proxyserver.wire import (
    UNTIL_CLOSE,
    Body,
    JsonModel,
    Piece,
    RequestHead,
    ResponseHead,
    body_of,
    changes,
    edited,
    scan_response,
    without_fields,
)

from ._exchange import Exchange
from ._held import Held
from .errors import ApiError

_OTHERWISE = frozenset({b"accept", b"accept-encoding", b"content-type", b"content-encoding"})
LINES = b"application/x-ndjson"
ADDED = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"


async def translate(
    exchange: Exchange, held: Held, path: bytes, model: str, wanted: BodyRules
) -> tuple[Held, bytes]:
    """Return the body and the path for the server; the answer comes by `exchange.translation`.

    Args:
        exchange: the request.
        held: its body, as far as it was read; it is closed.
        path: of Ollama's API.
        model: as the client calls it.
        wanted: what the body for the server shall say.

    Raises:
        ApiError: it cannot be translated, or it is too large for that.
    """
    await held.add_rest(exchange)
    if held.on_disk:
        message = "the body is to be translated, which has to happen in memory (server.body_max)"
        raise ApiError(413, "request_too_large", message)
    try:
        asked = ollama.asked(path, json.loads(held.joined()))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ApiError(400, "invalid_request", f"the request makes no sense: {error}") from error
    body = json.dumps({**asked.body, "model": wanted.model or model}).encode()
    if wanted.change is not None:
        scan = JsonModel(wanted.change.keys)
        scan.feed(body)
        body = edited(body, 0, changes(scan.members, wanted.change))
    fresh = Held(held.bodies)
    held.close()
    await fresh.add(body)
    began_at = time.time() - (trio.current_time() - exchange.arrived_at)
    answer = ollama.Answer(path, model, asked.streams, began_at)
    exchange.translation = Translation(exchange, answer, asked)
    return fresh, asked.path


@attrs.define(eq=False)
class Translation:
    """Takes the answer of a server, and gives the client its own."""

    _exchange: Exchange
    _answer: ollama.Answer
    _asked: ollama.Asked
    _status: int = 200
    _out: Body | None = None
    _out_pieces: list[Piece] | None = None
    _pieces: list[Piece] = attrs.field(factory=list)

    @property
    def only_loads(self) -> bool:
        """Whether there is nothing to ask: the model shall be loaded."""
        return self._asked.empty

    def head(self, head: RequestHead) -> RequestHead:
        """Return the head for the server, which `ADDED` is to be added to."""
        return without_fields(head, _OTHERWISE)

    def still(self, thought: str) -> bytes | None:
        """Return what tells that it is waited for; None: nothing, until the answer is whole."""
        return self._answer.still(thought, time.time()) if self._asked.streams else None

    def begin(self, head: ResponseHead, body: Body) -> list[Piece]:
        """Begin the answer; return what shall get the pieces of its payload."""
        self._status = head.status
        self._answer.loaded_s = self._exchange.waited_s
        if head.status != 200:
            self._answer.streams = False
        return self._pieces

    async def pass_on(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Take a part of the server's answer."""
        payload = b"".join(data[start:end] for start, end in self._pieces)
        self._pieces.clear()
        if told := self._answer.feed(payload, time.time()):
            await self._tell(told)
        if self._answer.failed is not None:
            raise self._failure()

    async def end(self) -> None:
        """Tell the rest."""
        told = self._answer.finish(time.time())
        if self._answer.failed is not None:
            raise self._failure()
        await self._tell(told, last=True)
        await self._exchange.end()

    async def loaded(self) -> None:
        """Tell that the model is loaded, where nothing was asked."""
        self._answer.loaded_s = self._exchange.waited_s
        await self._tell(self._answer.loaded(time.time()), last=True)
        await self._exchange.end()

    async def complain(self, error: bytes) -> None:
        """Tell an error as the last line of an answer that has begun."""
        await self._tell(error + b"\n")

    def _failure(self) -> ApiError:
        status = self._status if self._status >= 400 else 502
        return ApiError(status, "upstream_error", self._answer.failed or "no answer")

    async def _tell(self, data: bytes, *, last: bool = False) -> None:
        if self._out is None:
            lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json; charset=utf-8", b"\r\n"]
            if self._asked.streams:
                lines[1] = b"Content-Type: " + LINES
            elif last:
                lines.insert(1, b"Content-Length: %d" % len(data))
            head = scan_response(b"\r\n".join(lines), b"POST")
            assert head is not None, "it is whole"
            self._out = body_of(UNTIL_CLOSE if self._asked.streams else len(data))
            self._out_pieces = self._exchange.begin(head, self._out)
        end = self._out.take(data, 0, len(data), self._out_pieces)
        await self._exchange.pass_on(data, 0, end)
