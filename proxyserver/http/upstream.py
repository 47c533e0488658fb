"""Connections to one run of a service: HTTP/1.1 by h11 over Trio, kept while they are fresh."""

import select
from typing import TypeAlias

import h11
import trio

from proxyserver.runtime import Endpoint, Stream, dial, socket_of

CONNECT_S = 5.0
"""A ready server on this machine accepts within milliseconds, or its backlog is full."""
IDLE_S = 4.0
"""An idle connection is not used again after so long.

The servers close theirs after 5 s (cpp-httplib and so llama.cpp, uvicorn and so vLLM, node): a
request sent at that very moment is lost, and cannot be told from one that was worked on.
"""
IDLE_MAX = 32
RECEIVE_MAX = 64 * 1024
HEAD_MAX = 64 * 1024
"""nginx allows 4 or 8 KiB, node 16, Apache 8 a line; our own services are trusted."""

Answered: TypeAlias = h11.Response | h11.Data | h11.EndOfMessage


class UpstreamFault(Exception):
    """The world's fault: the service could not be reached, broke off, or sent no HTTP."""

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent
        """No byte of an answer had come."""


class UpstreamConnection:
    """One connection, for one request at a time."""

    def __init__(self, stream: Stream) -> None:
        self.used = False
        """It has carried a request before this one: it may be dead without our knowing."""
        self.released_at = 0.0
        self._stream = stream
        self._socket = socket_of(stream)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
        self._sending = False
        self._silent = True
        self._ended: str | None = None

    async def send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bool:
        """Send a part of the request; False: the upstream takes no more.

        That is no fault yet: it may have answered early (a 413) before it closed its ears.
        """
        data = self._http.send(event)
        if not data:
            return True
        self._sending = True
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._sending = False
        return True

    async def end_request(self) -> None:
        """Send the end of the request, if that has not been done."""
        if self._http.our_state is h11.SEND_BODY:
            await self.send(h11.EndOfMessage())

    async def receive(self) -> Answered:
        """Return the next part of the answer; informational ones (1xx) are dropped.

        Raises:
            UpstreamFault: the connection broke, or this is not HTTP/1.1.
        """
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise self._fault(self._ended or f"sent no valid HTTP: {error}") from error
            if isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                return event
            if event is h11.NEED_DATA:
                await self._fill()
            elif not isinstance(event, h11.InformationalResponse):
                raise self._fault(self._ended or "spoke another protocol than HTTP/1.1")

    async def _fill(self) -> None:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_MAX))
        except trio.BrokenResourceError as error:
            raise self._fault(f"reset the connection {self._when()}") from error
        except trio.ClosedResourceError as error:
            raise self._fault("was stopped") from error
        if data:
            self._silent = False
        else:
            self._ended = f"closed the connection {self._when()}"
        self._http.receive_data(data)

    def _when(self) -> str:
        started = self._http.their_state not in (h11.IDLE, h11.SEND_RESPONSE)
        return "in the middle of its answer" if started else "before it answered"

    def _fault(self, message: str) -> UpstreamFault:
        return UpstreamFault(message, silent=self._silent)

    def recycle(self) -> bool:
        """Get ready for the next request; False: this connection has had its last."""
        if self._sending or self._http.trailing_data[0]:
            return False  # Bytes that nobody asked for must not answer the next request.
        try:
            self._http.start_next_cycle()
        except h11.LocalProtocolError:
            return False  # A half sent request, a half read answer, `Connection: close`, HTTP/1.0.
        self.used = True
        self._silent = True
        return True

    def is_stale(self) -> bool:
        """Tell whether the peer has closed, or spoken out of turn; asked between requests only."""
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close at once; whoever waits on this connection gets an `UpstreamFault`."""
        self._socket.close()


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
        self._closed = False

    async def acquire(self, *, fresh: bool = False) -> UpstreamConnection:
        """Return a connection for one request; hand it to `release` afterwards.

        Raises:
            UpstreamFault: nobody listens there, or nobody accepts.
        """
        self._expire()
        while self._idle and not fresh:
            connection = self._idle.pop()
            if not connection.is_stale():
                self._active[connection] = None
                return connection
            connection.close()
        connection = UpstreamConnection(await self._connect())
        self._active[connection] = None
        return connection

    async def _connect(self) -> Stream:
        self._check_open()
        try:
            with trio.fail_after(CONNECT_S):
                stream = await dial(self._endpoint)
        except trio.TooSlowError as error:
            raise UpstreamFault(
                f"did not accept a connection within {CONNECT_S:g} s", silent=True
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
        if self._closed or not connection.recycle() or len(self._idle) >= IDLE_MAX:
            connection.close()
            return
        connection.released_at = trio.current_time()
        self._idle.append(connection)

    def close(self) -> None:
        """Drop idle connections and break active ones: the run is about to go."""
        self._closed = True
        for connection in (*self._idle, *self._active):
            connection.close()
        self._idle.clear()

    def _expire(self) -> None:
        oldest_at = trio.current_time() - IDLE_S
        fresh = [connection for connection in self._idle if connection.released_at >= oldest_at]
        for connection in self._idle[: len(self._idle) - len(fresh)]:
            connection.close()
        self._idle = fresh
