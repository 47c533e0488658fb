"""One request and its answer: what passes is counted, and the end is told once."""

import abc
import enum
import random
import string
import time
from email.utils import formatdate
from typing import Protocol, TypeAlias

import attrs
import trio

from proxycore import RunId, ServiceId
from proxyserver.access import Allowance, Key
from proxyserver.request_rules import RequestRules
from proxyserver.wire import (
    BadBody,
    BadWire,
    Body,
    FormModel,
    Header,
    JsonModel,
    Piece,
    RequestHead,
    ResponseHead,
    Tail,
    Usage,
)

from ._peer import Bytes
from ._trace import Trace
from .errors import ApiError
from .upstream import UpstreamConnection

LINGER_S = 2.0
"""How long a client that was answered early may go on sending, before we close on it.

Closing with bytes unread makes the kernel send a reset, which may take the answer away from the
client's hands (RFC 9112, 9.6); nginx lingers 5 s between two reads.
"""
BODY_GAP_S = 60.0
"""How long a client may pause within its body; nginx waits as long."""
REQUEST_ID_MAX = 128
_VISIBLE = frozenset((string.ascii_letters + string.digits + string.punctuation).encode())


class Outcome(enum.Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    """By the proxy itself, with an error."""
    BROKEN = "broken"
    """The service died in mid-answer: the client got an aborted body."""
    CLIENT_GONE = "client_gone"
    CANCELLED = "cancelled"
    """By hand."""
    CUT = "cut"
    """By our own shutdown."""
    BUG = "bug"


@attrs.define(eq=False)
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
    model: str | None = None
    """By the client's word, where that chose the service."""
    streamed: bool = False
    """The answer came event by event."""
    first_token_s: float | None = None
    """From the arrival to the first byte of the answer's body: heads may come long before."""
    usage: Usage | None = None
    """What the service said of its answer, if it is of a kind that does."""
    key: str | None = None
    """The name of the key that was shown; never the key."""
    asked_s: float | None = None
    """From the arrival to the asking for a place; None: it was refused before."""
    sent_s: float | None = None
    """From the arrival to the first byte that went to the service."""
    trace: Trace | None = None
    """None: traces are not kept."""
    retries: int = 0
    """How often it was sent to another run, since one had ended without a word."""


_STREAMS = (b"text/event-stream", b"application/x-ndjson")
"""Where a piece is a token (nearly)."""
_JSON = b"application/json"
Scan: TypeAlias = JsonModel | FormModel


class ClientGone(Exception):
    """The client has left; there is nobody to answer."""


class Answering(Protocol):
    """What takes the answer of a server; an exchange does, too."""

    @property
    def only_loads(self) -> bool:
        """Whether there is nothing to ask."""

    def head(self, head: RequestHead) -> RequestHead:
        """Return the head for the server."""

    def still(self, thought: str) -> bytes | None:
        """Return what tells that it is waited for; None: nothing, until the answer is whole."""

    def begin(self, head: ResponseHead, body: Body) -> list[Piece] | None:
        """As `Exchange.begin`."""

    async def pass_on(self, data: bytes | bytearray, start: int, end: int) -> None:
        """As `Exchange.pass_on`."""

    async def end(self) -> None:
        """As `Exchange.end`."""

    async def loaded(self) -> None:
        """Tell that there was nothing to ask."""

    async def complain(self, error: bytes) -> None:
        """Tell an error, after an answer has begun."""


class Exchange(abc.ABC):
    """One request, whichever lane it came by; a lane says how it is read and answered.

    Most of it is the same for most requests, and so an attribute of the class until it is not:
    there are twenty thousand of these a second.
    """

    can_splice = False
    """Whether the connection can become a WebSocket."""
    can_relay = False
    """Whether it has `pass_on_nowait`."""
    service: ServiceId | None = None
    model: str | None = None
    """By the client's word."""
    run: RunId | None = None
    upstream: UpstreamConnection | None = None
    """Who is answering."""
    status: int | None = None
    asked_at: float | None = None
    waited_s = 0.0
    sent_at: float | None = None
    trace: Trace | None = None
    first_byte_at: float | None = None
    first_token_at: float | None = None
    """Of a body whose ends are kept."""
    tail: Tail | None = None
    """The ends of the answer's body, where a service tells there what it took."""
    streamed = False
    answer: Body | None = None
    """Of the service; None: it has not begun."""
    told = False
    """A stream was begun before the service answered, to say that there is a wait."""
    retries = 0
    """How often it was sent to another run, since one had ended without a word."""
    bytes_in = 0
    """Of the request's body."""
    bytes_out = 0
    """Of the answer's body."""
    body_read = False
    """The request's body has been read to its end."""
    cancelled = False
    """By hand."""
    finished = False
    """All that the client waits for is on its way: leaving now is no loss."""
    scan: Scan | None = None
    """Who reads along with `read_framed`."""
    translation: "Answering | None" = None
    """Who takes the answer instead, and gives the client its own."""
    rules: RequestRules | None = None
    """What its service changes about it."""
    key: Key | None = None
    """Who asks, if keys are asked for."""
    allowance: Allowance | None = None
    """Whose place is to be given back."""
    origin: bytes | None = None
    """The other site whose page may read the answer; then what the service says of that is void."""
    added: tuple[Header, ...] = ()
    """Headers of the answer, whoever gives it."""

    def __init__(self, head: RequestHead, client: bytes, scheme: bytes) -> None:
        """Begin an exchange.

        Args:
            head: Of the request.
            client: The address of the peer.
            scheme: That the peer uses.
        """
        self.head = head
        self.client = client
        self.scheme = scheme
        self.request_id = request_id(head)
        self.arrived_at = trio.current_time()

    @property
    @abc.abstractmethod
    def gone(self) -> bool:
        """Whether the client has left."""

    @property
    @abc.abstractmethod
    def scope(self) -> trio.CancelScope:
        """All that is done for this request."""

    def cancel(self) -> None:
        """End it at once, by hand."""
        self.cancelled = True
        self.scope.cancel()

    # The request

    @property
    def unread(self) -> int:
        """How much has come of the body, and of what follows it, and waits to be read."""
        return 0

    def at_hand(self) -> bytes | None:
        """Return the body if all of it has come already; None: it has not, or who knows."""
        return None

    @abc.abstractmethod
    async def read(self) -> bytes:
        """Return more of the body; nothing once it has ended, and only then.

        Raises:
            ApiError: it does not go on, or is none.
            ClientGone: nobody is left to send it.
        """

    @abc.abstractmethod
    def around(self, size: int) -> tuple[bytes, bytes]:
        """Return what frames so much of the body, which was read, so that `read_framed` follows."""

    @abc.abstractmethod
    async def read_framed(self) -> Bytes:
        """Return more of the body, framed as its head says; nothing once it has ended.

        What is returned holds until the next checkpoint.

        Raises:
            ApiError: as `read`.
            ClientGone: as `read`.
        """

    def peek(self) -> bytes | None:
        """Return the body if all of it has come, and leave it to be read; None: who knows."""
        return None

    def framed_at_hand(self) -> Bytes:
        """Return what has come of the body already, framed as its head says.

        Raises:
            ApiError: it is none.
        """
        return b""

    # The answer

    @abc.abstractmethod
    async def inform(self, head: ResponseHead) -> None:
        """Pass on an informational answer (1xx), if that is possible."""

    @abc.abstractmethod
    async def say(self, events: bytes, kind: bytes) -> None:
        """Send events of our own (of this media type) before the service answers, after a head.

        Being cancelled waits until they are sent, so that no half of them is.

        Raises:
            ClientGone: nobody takes them.
        """

    @abc.abstractmethod
    def begin(self, head: ResponseHead, body: Body) -> list[Piece] | None:
        """Begin the answer; return what shall get the pieces of its payload, if something."""

    def keep_tail(self, head: ResponseHead, body: Body) -> None:
        """Look whether the answer is of a kind whose ends are worth keeping."""
        self.answer = body
        known = head.known
        if b"content-encoding" in known:
            return
        for kind in known.get(b"content-type", ()):
            self.streamed = kind.startswith(_STREAMS)
            if self.streamed or (kind.startswith(_JSON) and self.head.method == b"POST"):
                self.tail = Tail()

    def note(self, piece: memoryview) -> None:
        """Take note of a piece of an answer whose ends are kept."""
        tail = self.tail
        assert tail is not None, "it is asked before"
        if not tail.first and piece:
            self.first_token_at = trio.current_time()
        tail.add(piece)

    @abc.abstractmethod
    async def pass_on(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Send a part of the answer; the first time with its head."""

    def pass_on_nowait(self, data: bytes | bytearray, start: int, end: int) -> bool:
        """Send a part of the answer; False: `flush` has to be awaited now.

        Raises:
            ClientGone: nobody takes it.
        """
        raise NotImplementedError(f"{self} cannot")

    async def flush(self) -> None:
        """Send what is kept of what was passed on.

        Raises:
            ClientGone: nobody takes it.
        """
        raise NotImplementedError(f"{self} cannot")

    async def splice(self, head: ResponseHead, data: bytes, upstream: UpstreamConnection) -> None:
        """Connect the two sides, until one of them ends.

        Raises:
            UpstreamFault: the upstream broke off.
        """
        raise NotImplementedError(f"{self} cannot")

    @abc.abstractmethod
    async def end(self) -> None:
        """Send the end of the answer, and wait a little for a client that still sends."""

    @abc.abstractmethod
    async def fail(self, error: ApiError) -> None:
        """Answer with an error; if an answer has begun, leave it unended, which aborts it.

        A stream of events gets the error as its last event, if the one before it is whole.
        """

    # Its end

    def record(self, outcome: Outcome, error: BaseException | None) -> RequestRecord:
        """Return what there is to say, now that it is over."""
        from_at = self.arrived_at
        first_at, token_at = self.first_byte_at, self.first_token_at
        asked_at, sent_at = self.asked_at, self.sent_at
        usage = None
        if self.tail is not None and self.answer is not None and self.head.method == b"POST":
            usage = self.tail.usage(self.answer.chunks if self.streamed else 0)
        return RequestRecord(
            self.request_id,
            self.head.method.decode("latin-1"),
            self.head.target.partition(b"?")[0].decode("latin-1"),
            self.service,
            self.run,
            self.status,
            self.waited_s,
            None if first_at is None else first_at - from_at,
            trio.current_time() - from_at,
            self.bytes_in,
            self.bytes_out,
            outcome,
            error,
            self.model,
            self.streamed,
            None if token_at is None else token_at - from_at,
            usage,
            None if self.key is None else self.key.name,
            None if asked_at is None else asked_at - from_at,
            None if sent_at is None else sent_at - from_at,
            self.trace,
            self.retries,
        )


def request_id(head: RequestHead) -> str:
    """Return the client's own id if it is fit for a log and a header, else a new one."""
    for value in head.known.get(b"x-request-id", ())[:1]:
        if 0 < len(value) <= REQUEST_ID_MAX and _VISIBLE.issuperset(value):
            return value.decode("ascii")
    return f"{random.getrandbits(128):032x}"


def is_event_stream(head: ResponseHead) -> bool:
    kinds = head.known.get(b"content-type", ())
    fixed = b"content-length" in head.known or b"content-encoding" in head.known
    return not fixed and any(kind.startswith(b"text/event-stream") for kind in kinds)


SAY_S = 30.0
"""A client that takes no comment for so long does not read."""


def date() -> bytes:
    """Return the present second as HTTP writes it; it is made once a second."""
    now = int(time.time())
    if now != _Date.second:
        _Date.second, _Date.text = now, formatdate(now, usegmt=True).encode()
    return _Date.text


class _Date:
    second = -1
    text = b""


def bad_body(bad: BadBody) -> ApiError:
    param = "model" if bad.code == "missing_model" else None
    return ApiError(400, bad.code, bad.message, param=param)


def bad_chunks(bad: BadWire) -> ApiError:
    """Return the answer to a body whose end cannot be found, and so nothing after it."""
    return ApiError(
        400,
        "invalid_request",
        f"the client sent {bad}",
        headers=(("connection", "close"),),
    )


def too_slow() -> ApiError:
    return ApiError(
        408,
        "request_timeout",
        f"no more of the body came for {BODY_GAP_S:g} s; send it again",
        headers=(("connection", "close"),),
    )
