"""Connections to one run of a service: kept while they are fresh, broken when the run goes."""

import math
import time

import attrs
import trio

from proxyserver.request_rules import RequestRules
from proxyserver.runtime import Endpoint, Stream, dial, socket_of
from proxyserver.wire import BadWire, ResponseHead, scan_response

from ._peer import VIEW, AnyPeer, Bytes, Step, peer_of

CONNECT_S = 5.0
"""A ready server on this machine accepts within milliseconds, or its backlog is full."""
IDLE_S = 4.0
"""An idle connection is not used again after so long.

The servers close theirs after 5 s (cpp-httplib and so llama.cpp, uvicorn and so vLLM, node): a
request sent at that very moment is lost, and cannot be told from one that was worked on.
"""
IDLE_MAX = 64


@attrs.frozen
class Patience:
    """How long an upstream may keep us waiting."""

    first_byte_s: float = 3600.0
    """From the request to the head of its answer: a long prompt, on a slow machine, unstreamed."""
    stall_s: float = 600.0
    """Within its answer."""
    total_s: float = math.inf
    """From the arrival of the request to the end of the answer."""

    def with_rules(self, rules: RequestRules | None) -> "Patience":
        """Return the patience with a service that may have its own."""
        if rules is None:
            return self
        return Patience(
            rules.first_byte_s or self.first_byte_s,
            rules.stall_s or self.stall_s,
            rules.total_s or self.total_s,
        )


class UpstreamFault(Exception):
    """The world's fault: the service could not be reached, broke off, or sent no HTTP."""

    def __init__(self, message: str, *, silent: bool = False, late: bool = False) -> None:
        super().__init__(message)
        self.silent = silent
        """No byte of an answer had come."""
        self.late = late
        """Our patience ended."""


class UpstreamConnection:
    """One connection, for one request at a time."""

    def __init__(self, peer: AnyPeer) -> None:
        self.used = False
        """It has carried a request before this one: it may be dead without our knowing."""
        self.released_at = 0.0
        self.answering = False
        """The head of the answer has come."""
        self.has_sent = False
        """The request has been sent to its end."""
        self._peer = peer
        self._silent = True
        self._reusable = False
        self._cut: UpstreamFault | None = None
        # What the sweeper goes by: cheaper to keep than points in time.
        self._waiting = False
        self.moved = False
        """Something went either way since the sweeper looked last."""
        self.spoke = False
        """Something of an answer came since `UpstreamConnections.has_spoken` was asked last."""
        self._quiet_since = trio.current_time()

    async def send(self, data: Bytes) -> bool:
        """Send a part of the request; False: the upstream takes no more.

        That is no fault yet: it may have answered early (a 413) before it closed its ears.
        """
        try:
            await self._peer.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self.moved = True
        return True

    def sent(self) -> None:
        """Note that the request has been sent to its end."""
        self.has_sent = True

    async def receive_head(self, method: bytes, data: bytes = b"") -> tuple[ResponseHead, bytes]:
        """Return the head of the answer, and what came, which begins with it.

        Args:
            method: Of the request.
            data: What came after an informational head (1xx), which the real one follows.

        Raises:
            UpstreamFault: the connection broke, or this is not HTTP/1.1.
        """
        while True:
            if data:
                try:
                    head = scan_response(data, method)
                except BadWire as bad:
                    raise self._fault(f"sent no valid HTTP: {bad}") from bad
                if head is not None:
                    self.answering = head.status >= 200
                    return head, data
            size = await self.receive()
            if size == 0:
                raise self.broken_off()
            data += bytes(VIEW[:size])

    async def receive(self, step: Step | None = None) -> int:
        """Read more of the answer into the buffer; return how much, 0 at the end of the stream.

        Args:
            step: Takes what comes, read by read, until it is the turn of the task; see
                `Peer.relay`.

        Raises:
            UpstreamFault: the connection broke.
            Exception: whatever `step` raises.
        """
        self._waiting = self.moved = True
        try:
            size = await (self._peer.receive() if step is None else self._peer.relay(step))
        except trio.BrokenResourceError as error:
            raise self._fault(f"reset the connection {self._when()}") from error
        except trio.ClosedResourceError as error:
            raise self._cut or self._fault("was stopped") from error
        self._waiting = False
        if size:
            self._silent = False
            self.spoke = True
        return size

    def broken_off(self) -> UpstreamFault:
        """Return the fault that the end of the stream is, where there should have been more."""
        return self._fault(f"closed the connection {self._when()}")

    def _when(self) -> str:
        return "in the middle of its answer" if self.answering else "before it answered"

    def _fault(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, silent=self._silent)

    def finish(self, *, reusable: bool) -> None:
        """Note that the answer has been read to its end, and nothing but it."""
        self._reusable = reusable

    def recycle(self) -> bool:
        """Get ready for the next request; False: this connection has had its last."""
        if not self._reusable or not self.has_sent or self._cut:
            return False
        self.used = self._silent = True
        self.has_sent = self._reusable = self.answering = self._waiting = False
        return True

    def is_stale(self) -> bool:
        """Tell whether the peer has closed, or spoken out of turn; asked between requests only."""
        return self._peer.readable()

    def close(self) -> None:
        """Close at once; whoever waits on this connection gets an `UpstreamFault`."""
        self._peer.close()

    def sweep(self, now: float, arrived_at: float, patience: Patience) -> None:
        """Close if the upstream has kept us waiting for too long.

        Args:
            now: The time.
            arrived_at: When the request came.
            patience: What is too long.
        """
        if now - arrived_at >= patience.total_s:
            self.give_up(f"was not done with its answer within {patience.total_s:g} s")
            return
        if self.moved or not self._waiting:
            self.moved = False
            self._quiet_since = now
            return
        limit_s = patience.stall_s if self.answering else patience.first_byte_s
        if now - self._quiet_since >= limit_s:
            what = "more of its answer" if self.answering else "answer"
            self.give_up(f"sent no {what} within {limit_s:g} s")

    def give_up(self, message: str) -> None:
        """Close because it took too long; whoever waits gets that as an `UpstreamFault`."""
        self._cut = UpstreamFault(message, silent=self._silent, late=True)
        self._peer.close()


class UpstreamConnections:
    """All connections to one run."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.authority = endpoint.authority.encode()
        self.prefix = endpoint.prefix.encode()
        """What the service wants before every path."""
        self.authorization = (endpoint.authorization or "").encode()
        self._endpoint = endpoint
        # The last one used is the freshest, and the others may grow old and go.
        self._idle: list[UpstreamConnection] = []
        self._active: dict[UpstreamConnection, None] = {}
        self._spoke = False
        """By those that were released."""
        self._closed = False

    def acquire_nowait(self) -> UpstreamConnection | None:
        """Return a kept connection for one request, if there is one; as `acquire`."""
        self._expire()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_stale():
                self._active[connection] = None
                return connection
            connection.close()
        return None

    async def acquire(self) -> UpstreamConnection:
        """Return a new connection for one request; hand it to `release` afterwards.

        Raises:
            UpstreamFault: nobody listens there, or nobody accepts.
        """
        connection = UpstreamConnection(peer_of(await self._connect()))
        self._active[connection] = None
        return connection

    async def _connect(self) -> Stream:
        self._check_open()
        try:
            with trio.fail_after(CONNECT_S):
                stream = await dial(self._endpoint)
        except trio.TooSlowError as error:
            raise UpstreamFault(
                f"did not accept a connection within {CONNECT_S:g} s", silent=True, late=True
            ) from error
        except OSError as error:
            raise UpstreamFault(f"cannot be reached: {error}", silent=True) from error
        try:
            self._check_open()  # What answered after it was stopped may be a stranger.
        except UpstreamFault:
            socket_of(stream).close()
            raise
        return stream

    def _check_open(self) -> None:
        if self._closed:
            raise UpstreamFault("was stopped", silent=True)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back; it is closed unless its request was sent and answered whole."""
        self._active.pop(connection, None)
        self._spoke, connection.spoke = self._spoke or connection.spoke, False
        if self._closed or not connection.recycle() or len(self._idle) >= IDLE_MAX:
            connection.close()
            return
        connection.released_at = time.monotonic()
        self._idle.append(connection)

    def has_spoken(self) -> bool:
        """Tell whether anything of an answer came since this was asked last."""
        spoke, self._spoke = self._spoke, False
        for connection in self._active:
            spoke, connection.spoke = spoke or connection.spoke, False
        return spoke

    def close(self) -> None:
        """Drop idle connections and break active ones: the run is about to go."""
        self._closed = True
        for connection in (*self._idle, *self._active):
            connection.close()
        self._idle.clear()

    def _expire(self) -> None:
        """Close what has been idle for long; the oldest is the first."""
        # Of the world, not of Trio: it is the service that counts, too.
        oldest_at = time.monotonic() - IDLE_S
        old = 0
        for connection in self._idle:
            if connection.released_at >= oldest_at:
                break
            connection.close()
            old += 1
        if old:
            del self._idle[:old]
