"""One client connection: hypercorn's HTTP/1.1, with what it lacks towards clients that misbehave.

hypercorn 0.18 is pinned, because this reaches into it.  What is changed, and why:

* **HTTP/2 is off** (cleartext, by upgrade or by prior knowledge): hypercorn cannot reset a stream
  whose application ends early, so a broken answer would hang for ever instead of breaking.
  An `Upgrade: h2c` is ignored, as RFC 9110, 7.8 allows.
* **Leaving is seen at once**, by the kernel's word instead of reading up to the end: while an
  upload is held back, or the next request is pipelined, hypercorn does not read.
* **An HTTP/1.0 client gets a reset** when its answer breaks: closing is how such an answer ends.
* **Sending is bounded**: hypercorn shields it from cancellation, without a time-out.
* **WebSockets** are requests like others, which the application refuses: hypercorn's own refusals
  have no words, and some of them leave the connection open for ever.
* **Errors in the head** are answered in the shape of all our errors, and `_strict.py` finds more of
  them; then the rest is read away for a moment, for closing on unread bytes would take the answer
  back.

What nobody can see: a client that left while its kernel still has bytes for us.  The news queue
behind these bytes (TCP), so they come when we read on; until then `wait_s` bounds the wait.

What waits for the rebuild of the data path: a limit on slow bodies (`receive` has no time-out
where a body is streamed), and 100 Continue only when somebody wants the body.
"""

import select
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from ._exchange import LINGER_S
from ._strict import StrictConnection
from .errors import ApiError

CLIENT_GONE = "client_gone"
"""The key in ASGI's `state` of a `trio.Event`: the client has left, which is why we cancel."""
Address: TypeAlias = tuple[str, int] | None
RECEIVE_MAX = 64 * 1024
SEND_S = 300.0
"""A client that takes nothing for so long is gone, whatever its kernel says."""

_HEAD_ERRORS = {
    431: "the head of the request is larger than 64 KiB; send smaller headers",
    501: "only `Transfer-Encoding: chunked` is understood",
}


class Hangups:
    """Tells whose client has left, by one epoll for all connections; costs nothing per request."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._gone: dict[int, trio.Event] = {}

    async def run(self) -> None:
        """Watch for ever."""
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, _ in self._epoll.poll(0):
                    if descriptor in self._gone:
                        self._gone[descriptor].set()

    @contextmanager
    def watch(self, sock: trio.socket.SocketType) -> Iterator[trio.Event]:
        """Yield an event that is set when the peer closes, or half-closes, the connection."""
        descriptor = sock.fileno()
        gone = self._gone[descriptor] = trio.Event()
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
        try:
            yield gone
        finally:
            if sock.fileno() >= 0:
                self._epoll.unregister(descriptor)
            # Else closing has done that, and the next connection may have the number already.
            if self._gone.get(descriptor) is gone:
                del self._gone[descriptor]


class Connection(TCPServer):
    """Serves one client until it or we have had enough."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        hangups: Hangups,
        stream: trio.SocketStream,
    ) -> None:
        # Typed for TLS; it works on a plain stream as well, which is how hypercorn calls it.
        super().__init__(app, config, context, ConnectionState({}), cast(Any, stream))
        self._hangups = hangups
        self._socket = stream.socket

    async def run(self) -> None:
        try:
            client = parse_socket_addr(self._socket.family, self._socket.getpeername())
            server = parse_socket_addr(self._socket.family, self._socket.getsockname())
        except OSError:  # It left before we looked.
            self._socket.close()
            return
        with self._hangups.watch(self._socket) as gone:
            self._gone = gone
            try:
                async with trio.open_nursery() as watching:
                    watching.start_soon(self._leave, watching.cancel_scope)
                    await self._talk(client, server)
                    watching.cancel_scope.cancel()
            finally:
                self._socket.close()

    async def _talk(self, client: Address, server: Address) -> None:
        async with TaskGroup() as group:
            self._task_group = group
            self.protocol: Any = _Http1(
                self.app,
                self.config,
                self.context,
                group,
                ConnectionState({CLIENT_GONE: self._gone}),
                False,
                client,
                server,
                self.protocol_send,
            )
            self.protocol.reset = self._reset
            self.protocol.linger = self._linger
            await self.idle_task.restart(group, self._idle_timeout)
            await self._read_data()
            await self.idle_task.stop()

    async def _leave(self, connection_scope: trio.CancelScope) -> None:
        await self._gone.wait()
        connection_scope.cancel()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                with trio.fail_after(SEND_S):
                    await self.stream.send_all(event.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self._gone.set()

    async def _linger(self) -> None:
        """End our side, and wait a little for the client's end."""
        with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError):
            await self.stream.send_eof()
            while await self.stream.receive_some(RECEIVE_MAX):
                pass

    def _reset(self) -> None:
        """Close the connection so that nobody takes it for the end of an answer."""
        if self._socket.fileno() >= 0:
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._socket.close()


class _Http1(H11Protocol):
    reset: Callable[[], None]
    linger: Callable[[], Awaitable[None]]

    def __init__(self, app: AppWrapper, config: Config, *more: Any) -> None:
        super().__init__(app, config, *more)
        self.connection = StrictConnection(
            h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        """Stay with HTTP/1.1."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Take every request to the application as HTTP, WebSocket handshakes included."""
        self.stream = HTTPStream(
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
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

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
        if isinstance(self.connection, StrictConnection) and self.connection.refused is not None:
            message += f": {self.connection.refused}"
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
