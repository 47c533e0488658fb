"""A request that came by hypercorn: its body and its answer go through the channels of ASGI."""

from collections.abc import Callable
from typing import Any

import trio
from starlette.types import Message, Receive, Scope, Send

from proxyserver.surfaces import error_event, shape_of, stream_end
from proxyserver.wire import (
    CHUNKED,
    BadBody,
    Body,
    ChunkedBody,
    Piece,
    RequestHead,
    ResponseHead,
    headers_to_client,
    without_cors,
)

from ._exchange import (
    BODY_GAP_S,
    LINGER_S,
    SAY_S,
    ClientGone,
    Exchange,
    bad_body,
    date,
    too_slow,
)
from ._peer import Kept
from .errors import ApiError

CLIENT_GONE = "client_gone"
"""The key in ASGI's `state` of who tells whether the client has left, which is why we cancel."""
TAKES_MORE = "takes_more"
"""The key in ASGI's `state` of whether the two messages that follow are taken."""
INFORMATIONAL = "http.response.informational"
"""Our own message for a 1xx: ASGI has none."""
TRAILERS = "http.response.trailers"
"""With us they come in place of the last piece of the body."""
HEAD = "head"
"""The key in ASGI's `state` of the request's head, as it was scanned."""


class AsgiExchange(Exchange):
    """A request on the lane of hypercorn."""

    _start: Message
    _left = False
    _is_events = False
    _promised: int | None = None
    """The length of the answer's body; None: its end will tell."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head: RequestHead = scope["state"][HEAD]
        client: Any = scope.get("client")
        address = str(client[0]).encode() if client else b"unknown"
        super().__init__(head, address, scope["scheme"].encode())
        self._has_left: Callable[[], bool] = scope["state"][CLIENT_GONE]
        self._takes_more: bool = scope["state"].get(TAKES_MORE, False)
        self._expects = self._takes_more and head.expects
        """The client waits for a word before it sends its body."""
        self._receive = receive
        self._send = send
        self._pieces: list[Piece] = []
        self._scope = trio.CancelScope()

    @property
    def scope(self) -> trio.CancelScope:
        return self._scope

    @property
    def gone(self) -> bool:
        return self._left or self._has_left()

    # The request

    async def receive(self) -> Message:
        """Return ASGI's next message; after the body's end, wait for the client to leave."""
        if self._expects and self.status is None:
            self._expects = False
            await self._send({"type": INFORMATIONAL, "status": 100, "headers": []})
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._left = True
        else:
            self.bytes_in += len(message.get("body", b""))
            # hypercorn tells the end in a message of its own, which may be a while.
            whole = self.bytes_in == self.head.length
            self.body_read = whole or not message.get("more_body", False)
        return message

    async def read(self) -> bytes:
        while not self.body_read:
            with trio.move_on_after(BODY_GAP_S) as gap:
                message = await self.receive()
            if gap.cancelled_caught:
                raise too_slow()
            if self._left:
                raise ClientGone
            if body := message.get("body", b""):
                return bytes(body)
        return b""

    async def read_framed(self) -> bytes:
        piece = await self.read()
        if self.scan is not None:
            try:
                self.scan.feed(piece)
                if self.body_read:
                    self.scan.finish()
            except BadBody as bad:
                raise bad_body(bad) from bad
        if self.head.length != CHUNKED:
            return piece
        end = b"0\r\n\r\n" if self.body_read else b""
        return b"%x\r\n%s\r\n%s" % (len(piece), piece, end) if piece else end

    def around(self, size: int) -> tuple[bytes, bytes]:
        if self.head.length != CHUNKED or not size:
            return b"", b""
        return b"%x\r\n" % size, b"\r\n"

    # The answer

    async def inform(self, head: ResponseHead) -> None:
        """Pass it on where there are words for it; ASGI has none."""
        if self._takes_more:
            headers = headers_to_client(head)
            await self._send({"type": INFORMATIONAL, "status": head.status, "headers": headers})

    async def say(self, events: bytes, kind: bytes) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SAY_S) as scope:
            if not self.told:
                self.told = True
                headers = [(b"content-type", kind), (b"cache-control", b"no-cache")]
                await self.send({"type": "http.response.start", "status": 200, "headers": headers})
            await self.send({"type": "http.response.body", "body": events, "more_body": True})
        if scope.cancelled_caught:
            raise ClientGone

    def begin(self, head: ResponseHead, body: Body) -> list[Piece]:
        self.keep_tail(head, body)
        if self.origin is not None:
            head = without_cors(head)
        self._start = {
            "type": "http.response.start",
            "status": head.status,
            "headers": headers_to_client(head),
        }
        return self._pieces

    async def pass_on(self, data: bytes | bytearray, start: int, end: int) -> None:
        # They are copied before anything is awaited: the buffer is not ours any longer than that.
        body = b"".join(data[start:end] for start, end in self._pieces)
        self._pieces.clear()
        if self.status is None:
            await self.send(self._start)
        if body:
            if self.tail is not None:
                self.note(memoryview(body))
            Kept.total += len(body)
            try:
                await self.send({"type": "http.response.body", "body": body, "more_body": True})
            finally:
                Kept.total -= len(body)

    async def end(self) -> None:
        answer = self.answer
        if self._takes_more and isinstance(answer, ChunkedBody) and answer.trailers:
            await self._linger()
            self.finished = True
            await self._send({"type": TRAILERS, "headers": answer.trailers})
            return
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(self, message: Message) -> None:
        """Send ASGI's next message; the last one waits a little for a client that still sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.first_byte_at = trio.current_time()
            headers = [*message.get("headers", ()), *self.added]
            headers.append((b"X-Request-Id", self.request_id.encode()))
            named = {name.lower(): value for name, value in headers}
            if b"date" not in named:
                headers.append((b"Date", date()))
            kind = named.get(b"content-type", b"")
            fixed = b"content-length" in named or b"content-encoding" in named
            self._is_events = kind.startswith(b"text/event-stream") and not fixed
            self._promised = _promised(self.head.method, message["status"], named)
            self.finished = self._promised == 0
            await self._send({**message, "headers": headers})
            return
        body = message.get("body", b"")
        self.bytes_out += len(body)
        self.finished = self.finished or self.bytes_out == self._promised
        if message.get("more_body", False):
            await self._send(message)
            return
        if body:
            await self._send({**message, "more_body": True})
        await self._linger()
        self.finished = True
        await self._end()

    async def _linger(self) -> None:
        if self._expects:
            return  # It was never asked to send its body.
        with trio.move_on_after(LINGER_S):
            while not self.body_read and not self._left:
                await self.receive()

    async def _end(self) -> None:
        last: Message = {"type": "http.response.body", "body": b"", "more_body": False}
        if self.body_read or self._left:
            await self._send(last)
            return
        # hypercorn tells us about the end through the same bounded queue that the body fills:
        # if nobody empties it, the two wait for each other for ever.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await self._send(last)
            nursery.cancel_scope.cancel()

    async def _discard(self) -> None:
        while not self._left:
            await self.receive()

    async def fail(self, error: ApiError) -> None:
        shape = shape_of(self.head.target)
        body = error.encoded(shape)
        if self.told and self.answer is None:
            last = error_event(shape, body) + stream_end(shape)
            await self.send({"type": "http.response.body", "body": last})
            return
        if self.status is not None:
            ending = b"" if self.tail is None else self.tail.ending()
            if self.translation is not None:
                await self.translation.complain(body)
            elif self._is_events and ending.endswith((b"\n\n", b"\r\n\r\n")):
                event = error_event(shape, body)
                await self.send({"type": "http.response.body", "body": event, "more_body": True})
            return
        headers = [(name.encode(), value.encode()) for name, value in error.headers]
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(body)))
        if self._expects and not self.body_read:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _promised(method: bytes, status: int, named: dict[bytes, bytes]) -> int | None:
    if method == b"HEAD" or status in (204, 304):
        return 0
    length = named.get(b"content-length")
    return None if length is None else int(length)
