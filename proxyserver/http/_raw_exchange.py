"""The fast lane's request: its bytes are read from the client's socket, and go on as they are."""

from contextlib import suppress
from http import HTTPStatus

import trio

from proxyserver.surfaces import error_event, shape_of, stream_end
from proxyserver.wire import (
    CHUNKED,
    TAIL_MAX,
    BadBody,
    BadWire,
    Body,
    ChunkedBody,
    EndlessBody,
    LengthBody,
    Piece,
    RequestHead,
    ResponseHead,
    to_client,
    without_cors,
)

from ._client_side import ClientSide
from ._exchange import (
    BODY_GAP_S,
    LINGER_S,
    SAY_S,
    ClientGone,
    Exchange,
    bad_body,
    bad_chunks,
    date,
    is_event_stream,
    too_slow,
)
from ._peer import BUFFER, VIEW, Bytes
from .errors import ApiError
from .upstream import UpstreamConnection, UpstreamFault

REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_EVENT_ENDS = (b"\n\n\r\n", b"\n\r\n\r\n")
"""How a chunk ends whose last event is whole."""


class RawExchange(Exchange):
    """A request on the fast lane."""

    can_splice = can_relay = True
    _head_out = b""
    """The head of the answer, until it is sent: its status counts from then on."""
    _status_out = 0
    _is_events = False
    _frames = False
    """What comes has no chunks, and the client gets some."""
    _expects = False
    """The client waits for a word before it sends its body."""

    def __init__(self, head: RequestHead, side: ClientSide) -> None:
        super().__init__(head, side.address, side.scheme)
        self.side = side
        length = head.length
        self._body = ChunkedBody() if length == CHUNKED else LengthBody(length)
        self.body_read = length == 0
        if head.expects:
            self._expects = True

    @property
    def gone(self) -> bool:
        return self.side.gone.is_set()

    @property
    def scope(self) -> trio.CancelScope:
        # A scope of its own would cost each request 4 us; the connection's ends it as well.
        return self.side.scope

    def cancel(self) -> None:
        self.side.closing = True
        super().cancel()

    # The request

    @property
    def unread(self) -> int:
        return len(self.side.unread)

    def at_hand(self) -> bytes | None:
        length = self.head.length
        unread = self.side.unread
        if length == CHUNKED or length > len(unread) or self.bytes_in:
            return None
        self._take(unread, len(unread), None)
        return unread[:length]

    def peek(self) -> bytes | None:
        length = self.head.length
        unread = self.side.unread
        return unread[:length] if 0 < length <= len(unread) and not self.bytes_in else None

    async def read(self) -> bytes:
        while not self.body_read:
            data, size = await self._more()
            pieces: list[Piece] = []
            self._take(data, size, pieces)
            if len(pieces) == 1:
                start, end = pieces[0]
                return bytes(data[start:end])
            if pieces:
                return b"".join(data[start:end] for start, end in pieces)
        return b""

    async def read_framed(self) -> Bytes:
        if self.body_read:
            return b""
        return self._framed(*await self._more())

    def framed_at_hand(self) -> Bytes:
        unread = self.side.unread
        return self._framed(unread, len(unread)) if unread else b""

    def _framed(self, data: bytes | bytearray, size: int) -> Bytes:
        pieces: list[Piece] | None = None if self.scan is None else []
        end = self._take(data, size, pieces)
        if self.scan is not None and pieces is not None:
            try:
                for start, stop in pieces:
                    self.scan.feed(bytes(data[start:stop]))
                if self._body.done:
                    self.scan.finish()
            except BadBody as bad:
                raise bad_body(bad) from bad
        return memoryview(data)[:end]

    def around(self, size: int) -> tuple[bytes, bytes]:
        return self._body.around(size)

    def _take(self, data: bytes | bytearray, size: int, pieces: list[Piece] | None) -> int:
        try:
            end = self._body.take(data, 0, size, pieces)
        except BadWire as bad:
            raise bad_chunks(bad) from bad
        self.side.unread = bytes(data[end:size])
        self.bytes_in = self._body.payload
        self.body_read = self._body.done
        return end

    async def _more(self) -> tuple[bytes | bytearray, int]:
        """Return a buffer, and how much of it is filled with what has come; never nothing."""
        side = self.side
        if side.unread:
            self._expects = False
            return side.unread, len(side.unread)
        size = 0
        with trio.move_on_after(BODY_GAP_S) as gap:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if self._expects:
                    self._expects = False
                    await side.peer.send(CONTINUE)
                size = await side.peer.receive()
        if gap.cancelled_caught:
            raise too_slow()
        if size == 0:
            side.gone.set()
            raise ClientGone
        return BUFFER, size

    # The answer

    async def inform(self, head: ResponseHead) -> None:
        if not self.told:
            await self._send(to_client(head, b""))

    async def say(self, events: bytes, kind: bytes) -> None:
        head = b""
        if not self.told:
            self.told, self.status, self._is_events = True, 200, True
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s%s\r\n" % (
                kind,
                b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n",
                self._own_lines(dated=False),
            )
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SAY_S) as scope:
            await self._send(head + _chunk(events))
        if scope.cancelled_caught:
            self.side.gone.set()
            raise ClientGone

    def begin(self, head: ResponseHead, body: Body) -> None:
        self.keep_tail(head, body)
        self._frames = isinstance(body, EndlessBody)
        if self.told:
            self._frames = not isinstance(body, ChunkedBody)
            return
        self._status_out = head.status
        if head.length < 0:
            self._is_events = is_event_stream(head)
        if self.origin is not None:
            head = without_cors(head)
        self._head_out = to_client(head, self._own_lines(dated=b"date" in head.known))

    def _own_lines(self, *, dated: bool) -> bytes:
        lines = b"X-Request-Id: %s\r\n" % self.request_id.encode()
        if not dated:
            lines += b"Date: %s\r\n" % date()
        if self.side.closing:
            lines += b"Connection: close\r\n"
        return lines + self._lines_added() if self.added else lines

    def _lines_added(self) -> bytes:
        return b"".join(b"%s: %s\r\n" % header for header in self.added)

    async def pass_on(self, data: bytes | bytearray, start: int, end: int) -> None:
        if not self.pass_on_nowait(data, start, end):
            await self.flush()

    def pass_on_nowait(self, data: bytes | bytearray, start: int, end: int) -> bool:
        piece = memoryview(data)[start:end]
        out: Bytes = piece
        body = self.answer
        assert body is not None
        tail = self.tail
        if tail is not None:
            if tail.first and end - start <= TAIL_MAX:
                tail.append(piece.tobytes())
            else:
                self.note(piece)
        if self._frames and end > start:
            out = _chunk(out)
        if self._head_out:
            out = self._head_out + out
            self._head_out = b""
            self.status = self._status_out
            self.first_byte_at = trio.current_time()
        elif self.first_byte_at is None:
            self.first_byte_at = trio.current_time()
        self.bytes_out = body.payload
        taken = self._send_nowait(out)
        self.finished = taken and body.done
        return taken

    async def flush(self) -> None:
        try:
            await self.side.peer.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.side.gone.set()
            raise ClientGone from error
        self.finished = self.answer is not None and self.answer.done

    async def splice(self, head: ResponseHead, data: bytes, upstream: UpstreamConnection) -> None:
        self.status = head.status
        self.first_byte_at = trio.current_time()
        self.side.closing = True
        upstream.answering = True
        added = b"X-Request-Id: %s\r\n" % self.request_id.encode() + self._lines_added()
        self.bytes_out = len(data) - head.size
        await self._send(to_client(head, added, websocket=True) + data[head.size :])
        failures: list[UpstreamFault | ClientGone] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_up, upstream, nursery.cancel_scope)
            try:
                await self._pass_down(upstream)
            except (UpstreamFault, ClientGone) as failure:
                failures.append(failure)
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        self.finished = True

    async def _pass_down(self, upstream: UpstreamConnection) -> None:
        while size := await upstream.receive():
            self.bytes_out += size
            await self._send(VIEW[:size])

    async def _pass_up(self, upstream: UpstreamConnection, splice_scope: trio.CancelScope) -> None:
        """Send what the client sends; end the splice when either will not have more."""
        side = self.side
        data: Bytes = side.unread
        side.unread = b""
        while True:
            if data and not await upstream.send(data):
                break
            self.bytes_in += len(data)
            try:
                size = await side.peer.receive()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                size = 0
            if size == 0:
                break
            data = VIEW[:size]
        splice_scope.cancel()

    async def end(self) -> None:
        if self._frames:
            await self._send(LAST_CHUNK)
        self.finished = True
        if not self.body_read:
            await self._linger()

    async def _linger(self) -> None:
        """Read away what is left of the request, so that the answer is not lost on its way."""
        self.scan = None
        if not self._expects:  # Else it was never asked to send its body.
            with trio.move_on_after(LINGER_S), suppress(ApiError, ClientGone):
                while not self.body_read:
                    await self.read_framed()
        if not self.body_read:
            self.side.closing = True

    async def fail(self, error: ApiError) -> None:
        shape = shape_of(self.head.target)
        body = error.encoded(shape)
        if self.told and self.answer is None:
            # Nothing of an answer is missing: the stream has said all that there is.
            await self._send(_chunk(error_event(shape, body) + stream_end(shape)) + LAST_CHUNK)
            self.finished = True
            return
        if self.status is not None:
            self.side.closing = True
            if self.translation is not None:
                await self.translation.complain(body)
            elif self._is_events and self._is_between_events():
                await self._send(_chunk(error_event(shape, body)))
            return
        self.status = error.status
        self.first_byte_at = trio.current_time()
        lines = [b"HTTP/1.1 %d %s" % (error.status, REASONS[error.status])]
        for name, value in error.headers:
            lines.append(f"{name}: {value}".encode())
        lines += (b"%s: %s" % header for header in self.added)
        if ("connection", "close") in error.headers:
            self.side.closing = True
        elif self.side.closing or (self._expects and not self.body_read):
            self.side.closing = True
            lines.append(b"connection: close")
        lines += (
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"X-Request-Id: %s" % self.request_id.encode(),
            b"Date: %s" % date(),
            b"\r\n",
        )
        if self.head.method == b"HEAD":
            body = b""
        await self._send(b"\r\n".join(lines) + body)
        self.bytes_out += len(body)
        self.finished = True
        if not self.body_read:
            await self._linger()

    def _is_between_events(self) -> bool:
        body, tail = self.answer, self.tail
        if body is None or tail is None or not body.between:
            return False
        # What came without chunks was put into some.
        framed = b"\r\n" * self._frames
        return (tail.ending() + framed).endswith(_EVENT_ENDS)

    async def _send(self, data: Bytes) -> None:
        if not self._send_nowait(data):
            await self.flush()

    def _send_nowait(self, data: Bytes) -> bool:
        try:
            return self.side.peer.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.side.gone.set()
            raise ClientGone from error


def _chunk(data: Bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
