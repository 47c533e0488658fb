"""The other lane: hypercorn's HTTP/1.1, with what it lacks towards clients that misbehave.

hypercorn 0.18 is pinned, because this reaches into it.  What is changed, and why:

* **HTTP/2 is not its business** but that of `_http2.py`.  An `Upgrade: h2c` is ignored, as RFC
  9110, 7.8 allows.
* **It serves one request after another**, and gives back what comes when all are answered: the
  next one may be for the fast lane.
* **Leaving is seen at once**, by whoever owns the connection: while an upload is held back, or the
  next request is pipelined, hypercorn does not read.
* **An HTTP/1.0 client gets a reset** when its answer breaks: closing is how such an answer ends.
* **Sending is bounded**: hypercorn shields it from cancellation, without a time-out.
* **WebSockets** are requests like others, which the application refuses: hypercorn's own refusals
  have no words, and some of them leave the connection open for ever.
* **Errors in the head** are answered in the shape of all our errors, and `_strict.py` finds more of
  them; then the rest is read away for a moment, for closing on unread bytes would take the answer
  back.

* **1xx and trailers pass**, by messages of our own beside ASGI's, and a body that is expected is
  asked for (100 Continue) once somebody wants it, not at once.

What nobody can see: a client that left while its kernel still has bytes for us.  The news queue
behind these bytes (TCP), so they come when we read on; until then `wait_s` bounds the wait.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Request, Response, StreamClosed, Trailers
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from ._asgi_exchange import CLIENT_GONE, HEAD, INFORMATIONAL, TAKES_MORE, TRAILERS
from ._client_side import SEND_S, ClientSide
from ._exchange import LINGER_S
from ._peer import VIEW, Peer
from ._secure_peer import SecurePeer
from ._strict import StrictConnection
from .errors import ApiError

Address: TypeAlias = tuple[str, int] | None
RECEIVE_MAX = 64 * 1024

_HEAD_ERRORS = {
    431: "the head of the request is larger than 64 KiB; send smaller headers",
    501: "only `Transfer-Encoding: chunked` is understood",
}


class Connection(TCPServer):
    """Serves a client until it or we have had enough, or it asks for something of the fast lane."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext, side: ClientSide
    ) -> None:
        super().__init__(app, config, context, ConnectionState({}), cast(Any, _Stream(side.peer)))
        self._side = side
        self._next: bytes | None = None

    async def run_from(self, data: bytes) -> bytes | None:
        """Serve the request that begins with the data, and those that came with it.

        Return what the client sent when they were answered; None: the connection is closed.
        """
        try:
            sock = self._side.socket
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
        except OSError:  # It left before we looked.
            return None
        async with TaskGroup() as group:
            self._task_group = group
            self.protocol: Any = _Http1(
                self.app,
                self.config,
                self.context,
                group,
                ConnectionState({CLIENT_GONE: self._side.gone.is_set}),
                self._side.scheme == b"https",
                client,
                server,
                self.protocol_send,
            )
            self.protocol.reset = self._side.peer.reset
            self.protocol.linger = self._linger
            await self.idle_task.restart(group, self._idle_timeout)
            await self._read_from(data)
            await self.idle_task.stop()
        return self._next

    async def _read_from(self, data: bytes) -> None:
        while True:
            await self.protocol.handle(RawData(data))
            if not data:
                break
            try:
                data = bytes(await self.stream.receive_some(RECEIVE_MAX))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            if data and self.protocol.is_between:
                self._next = data
                return
        await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                with trio.fail_after(SEND_S):
                    await self.stream.send_all(event.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self._side.leave()

    async def _linger(self) -> None:
        """End our side, and wait a little for the client's end."""
        with (
            trio.move_on_after(LINGER_S),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            await self.stream.send_eof()
            while await self.stream.receive_some(RECEIVE_MAX):
                pass


class _Stream:
    """A peer, as hypercorn wants to see it."""

    def __init__(self, peer: Peer | SecurePeer) -> None:
        self._peer = peer

    async def receive_some(self, max_bytes: int) -> bytes:
        return bytes(VIEW[: await self._peer.receive(VIEW[:max_bytes])])

    async def send_all(self, data: bytes) -> None:
        await self._peer.send(data)

    async def send_eof(self) -> None:
        await self._peer.send_end()

    async def aclose(self) -> None:
        self._peer.close()
        await trio.lowlevel.checkpoint()


class _Request(HTTPStream):
    """A request whose answer may have more than ASGI knows."""

    async def app_send(self, message: Any) -> None:
        kind = None if message is None else message["type"]
        if kind == INFORMATIONAL:
            status, headers = message["status"], message["headers"]
            await self.send(Response(STREAM_ID, headers=headers, status_code=status))
        elif kind == TRAILERS:
            await self.send(Trailers(STREAM_ID, headers=message["headers"]))
            self.state = ASGIHTTPState.CLOSED
            await self.send(StreamClosed(STREAM_ID))
        else:
            await super().app_send(message)


class _Http1(H11Protocol):
    reset: Callable[[], None]
    linger: Callable[[], Awaitable[None]]

    def __init__(self, app: AppWrapper, config: Config, *more: Any) -> None:
        super().__init__(app, config, *more)
        self._strict = StrictConnection(
            h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size
        )
        self.connection = self._strict

    @property
    def is_between(self) -> bool:
        """Whether no request is under way, and none has begun to come."""
        http = self.connection
        return (
            isinstance(http, h11.Connection)
            and http.our_state is h11.IDLE
            and http.their_state is h11.IDLE
            and not http.trailing_data[0]
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Take every request to the application as HTTP, WebSocket handshakes included."""
        self.stream = _Request(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=request.headers.raw_items(),
                http_version=request.http_version.decode(),
                method=request.method.decode(),
                raw_path=request.target,
                state=ConnectionState(
                    {
                        **self.connection_state,
                        HEAD: self._strict.head,
                        TAKES_MORE: request.http_version == b"1.1",
                    }
                ),
            )
        )
        self.keep_alive_requests += 1

    async def stream_send(self, event: Any) -> None:
        if isinstance(event, Trailers):
            await self._send_h11_event(h11.EndOfMessage(headers=event.headers))
        else:
            await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        http = self.connection
        if (
            isinstance(http, h11.Connection)
            and http.our_state is h11.SEND_BODY
            and http.their_http_version == b"1.0"
        ):
            self.reset()
        await super()._maybe_recycle()

    async def _send_error_response(self, status_code: int) -> None:
        message = _HEAD_ERRORS.get(status_code, "this is no valid HTTP/1.1 request")
        if self._strict.problem is not None:
            message = f"the client sent {self._strict.problem}"
        body = ApiError(status_code, "invalid_request", message).encoded()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
        await self.linger()
        await self.send(Closed())
