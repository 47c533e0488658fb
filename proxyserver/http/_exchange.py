"""One request and its answer: what passes is counted, and the end is told once."""

import enum
from email.utils import formatdate
from typing import Any

import attrs
import trio
from starlette.types import Message, Receive, Scope, Send

from proxycore import RunId, ServiceId

from ._headers import Header, Headers, values
from .errors import ApiError

LINGER_S = 2.0
"""How long a client that was answered early may go on sending, before we close on it.

Closing with bytes unread makes the kernel send a reset, which may take the answer away from the
client's hands (RFC 9112, 9.6); nginx lingers 5 s between two reads.
"""


class Outcome(enum.Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    """By the proxy itself, with an error."""
    BROKEN = "broken"
    """The service died in mid-answer: the client got an aborted body."""
    CLIENT_GONE = "client_gone"
    CUT = "cut"
    """By our own shutdown."""
    BUG = "bug"


@attrs.frozen
class RequestRecord:
    """What there is to say about a request when it is over."""

    request_id: str
    method: str
    path: str
    """As the client wrote it, without the query: that may hold secrets."""
    service: ServiceId | None
    run: RunId | None
    status: int | None
    """None: nothing was answered."""
    waited_s: float
    """For a place at the service."""
    first_byte_s: float | None
    """From the arrival to the head of the answer."""
    duration_s: float
    bytes_in: int
    bytes_out: int
    outcome: Outcome
    error: BaseException | None
    """What went wrong, if something did; a bug has its traceback here."""


@attrs.define(eq=False)
class Exchange:
    """The ASGI channels of one request, watched; `receive` and `send` are ASGI's own."""

    scope: Scope
    request_id: str
    _receive: Receive
    _send: Send
    service: ServiceId | None = None
    run: RunId | None = None
    status: int | None = None
    waited_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    body_read: bool = False
    """The request's body has been read to its end."""
    gone: bool = False
    """The client has closed the connection."""
    finished: bool = False
    """All that the client waits for is on its way: leaving now is no loss."""
    _arrived_at: float = attrs.field(factory=trio.current_time)
    _first_byte_at: float | None = None
    _is_events: bool = False
    _promised: int | None = None
    """The length of the answer's body; None: its end will tell."""
    _tail: bytes = b""
    """The last bytes sent."""

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def headers(self) -> Headers:
        headers: Headers = self.scope["headers"]
        return headers

    async def receive(self) -> Message:
        """Return ASGI's next message; after the body's end, wait for the client to leave."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
        else:
            self.bytes_in += len(message.get("body", b""))
            self.body_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send ASGI's next message; the last one waits a little for a client that still sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._first_byte_at = trio.current_time()
            headers = [*message.get("headers", ()), *self._own_headers(message)]
            self._is_events = _is_event_stream(headers)
            self._promised = _promised(self.method, message["status"], headers)
            self.finished = self._promised == 0
            await self._send({**message, "headers": headers})
            return
        body = message.get("body", b"")
        self.bytes_out += len(body)
        self._tail = body[-4:] or self._tail
        self.finished = self.finished or self.bytes_out == self._promised
        if message.get("more_body", False):
            await self._send(message)
            return
        if body:
            await self._send({**message, "more_body": True})
        await self._linger()
        self.finished = True
        await self._end()

    def _own_headers(self, start: Message) -> list[Header]:
        own = [(b"X-Request-Id", self.request_id.encode())]
        if not values(start.get("headers", ()), b"date"):
            own.append((b"Date", formatdate(usegmt=True).encode()))
        return own

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER_S):
            while not self.body_read and not self.gone:
                await self.receive()

    async def _end(self) -> None:
        last: Message = {"type": "http.response.body", "body": b"", "more_body": False}
        if self.body_read or self.gone:
            await self._send(last)
            return
        # hypercorn tells us about the end through the same bounded queue that the body fills:
        # if nobody empties it, the two wait for each other for ever.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await self._send(last)
            nursery.cancel_scope.cancel()

    async def _discard(self) -> None:
        while not self.gone:
            await self.receive()

    async def fail(self, error: ApiError) -> None:
        """Answer with an error; if an answer has begun, leave it unended, which aborts it.

        A stream of events gets the error as its last event, if the one before it is whole.
        """
        body = error.encoded()
        if self.status is not None:
            if self._is_events and self._tail.endswith((b"\n\n", b"\r\n\r\n")):
                event = b"data: " + body + b"\n\n"
                await self.send({"type": "http.response.body", "body": event, "more_body": True})
            return
        headers = [(name.encode(), value.encode()) for name, value in error.headers]
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def record(self, outcome: Outcome, error: BaseException | None) -> RequestRecord:
        """Return what there is to say, now that it is over."""
        first = self._first_byte_at
        return RequestRecord(
            request_id=self.request_id,
            method=self.method,
            path=self.scope["raw_path"].decode("latin-1"),
            service=self.service,
            run=self.run,
            status=self.status,
            waited_s=self.waited_s,
            first_byte_s=None if first is None else first - self._arrived_at,
            duration_s=trio.current_time() - self._arrived_at,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            outcome=outcome,
            error=error,
        )


def _promised(method: str, status: int, headers: Headers) -> int | None:
    if method == "HEAD" or status in (204, 304):
        return 0
    lengths = values(headers, b"content-length")
    return int(lengths[0]) if lengths else None


def _is_event_stream(headers: Headers) -> bool:
    kinds = values(headers, b"content-type")
    fixed = values(headers, b"content-length") or values(headers, b"content-encoding")
    return not fixed and any(kind.startswith(b"text/event-stream") for kind in kinds)


def client_address(scope: Scope) -> bytes:
    client: Any = scope.get("client")
    return str(client[0]).encode() if client else b"unknown"
