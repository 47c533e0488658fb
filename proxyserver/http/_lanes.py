"""Finds for each request of a connection its lane.

The fast one takes what is for services, in HTTP/1.1: one task, no framework, bodies as they are.
The other one is hypercorn, in the same process: the API, HTTP/1.0, and whatever else is rare, or
wrong.  A connection changes lanes between requests, with the bytes that have been read.
"""

import socket
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from proxyserver.certificates import Certificate
from proxyserver.surfaces import surface_of
from proxyserver.wire import BadWire, RequestHead, scan_request

from ._client_side import HANDSHAKE_S, HEAD_S, IDLE_S, ClientSide
from ._connection import Connection
from ._exchange import LINGER_S, ClientGone
from ._handling import SWEEP_S, is_for_service
from ._http2 import PREFACE, Http2
from ._peer import VIEW, Peer
from ._raw_exchange import RawExchange
from ._secure_peer import SecurePeer
from .asgi import App
from .errors import ApiError

HANDSHAKE = 0x16
"""The first byte of what a client says first in TLS (RFC 8446, 5.1)."""
_REFUSAL = ApiError(400, "invalid_request", "this port speaks TLS: use https://").encoded()
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
)


class Lanes:
    """Serves clients, each until it or we have had enough.

    Args:
        app: answers requests.
        config: hypercorn's.
        context: hypercorn's.
        fast: whether the fast lane is open.
    """

    def __init__(
        self,
        app: App,
        config: Config,
        context: WorkerContext,
        *,
        fast: bool,
    ) -> None:
        self._handling = app.handling
        self._app = app
        # Starlette's types for ASGI are wider than hypercorn's.
        self._wrapped = ASGIWrapper(cast(Any, app))
        self._config = config
        self._context = context
        self._fast = fast
        self._sides: dict[ClientSide, None] = {}
        self._ending = False

    async def sweep(self) -> None:
        """End for ever what takes too long on the side of clients."""
        while True:
            await trio.sleep(SWEEP_S)
            now = trio.current_time()
            for side in self._sides:
                side.sweep(now)

    def end(self) -> None:
        """Close idle connections, and others after their answer."""
        self._ending = True
        for side in self._sides:
            side.end()

    async def serve(self, sock: socket.socket, certificate: Certificate | None = None) -> None:
        """Serve a client, over TLS if there is a certificate; the socket is closed afterwards."""
        with sock:
            try:
                name = sock.getpeername()
            except OSError:  # It left before we looked.
                return
            address = str(name[0]).encode() if name else b"unknown"
            side = ClientSide(sock, address, closing=self._ending)
            self._sides[side] = None
            try:
                with side.scope:
                    if certificate is None:
                        await self._talk(side)
                    else:
                        await self._talk_securely(side, certificate)
                if side.is_late:
                    side.peer.send_last(late_head())
            finally:
                del self._sides[side]
                side.peer.close()

    async def _talk_securely(self, side: ClientSide, certificate: Certificate) -> None:
        side.waits, side.idle = HANDSHAKE_S, True
        try:
            plain = side.peer
            assert isinstance(plain, Peer)
            size = await plain.receive()
            if size and VIEW[0] != HANDSHAKE:
                if chr(VIEW[0]).isalpha():  # As methods begin.
                    await plain.send(_PLAIN)
                    await self._part(side)
                return
            side.peer = peer = SecurePeer(plain, certificate.context(), bytes(VIEW[:size]))
            side.scheme = b"https"
            protocol = await peer.shake_hands()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        if protocol == "h2":
            await self._talk_http2(side)
        else:
            await self._talk(side)

    async def _talk_http2(self, side: ClientSide) -> None:
        data, side.unread = side.unread, b""
        await Http2(self._app, side).run(data)
        await self._part(side)

    async def _talk(self, side: ClientSide) -> None:
        while not side.closing:
            try:
                head = await self._next_head(side)
            except ClientGone:
                return
            if head is None and side.turn == 1 and side.unread.startswith(PREFACE):
                await self._talk_http2(side)
                return
            if head is None:
                connection = Connection(self._wrapped, self._config, self._context, side)
                data = await connection.run_from(side.unread)
                if data is None:
                    return
                side.unread = data
                continue
            side.closing = side.closing or head.closes
            await self._handling.handle(RawExchange(head, side))
        await self._part(side)

    async def _next_head(self, side: ClientSide) -> RequestHead | None:
        """Return the next request's head if it is for the fast lane, else None.

        Raises:
            ClientGone: there is none.
        """
        data = side.unread
        side.idle = not data
        side.turn += 1
        side.waits = HEAD_S if data else IDLE_S
        try:
            while True:
                if data:
                    try:
                        head = scan_request(data)
                    except BadWire:
                        return None  # The other lane scans it too, and has the words.
                    if head is not None:
                        if not self._fast or not _is_fast(head):
                            return None
                        side.unread = data[head.size :]
                        return head
                try:
                    size = await side.peer.receive()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    size = 0
                if size == 0:
                    raise ClientGone
                if side.idle:
                    side.idle = False
                    side.waits = HEAD_S
                side.unread = data = data + bytes(VIEW[:size])
        finally:
            side.idle = False
            side.waits = None

    async def _part(self, side: ClientSide) -> None:
        """Close so that what was sent last arrives, whatever the client has sent meanwhile."""
        with (
            trio.move_on_after(LINGER_S),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            await side.peer.send_end()
            while await side.peer.receive():
                pass


def late_head() -> bytes:
    """Return what a client is told that does not come to the end of its head."""
    body = ApiError(
        408, "request_timeout", f"the head of the request was not whole within {HEAD_S:g} s"
    ).encoded()
    return (
        b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    )


def _is_fast(head: RequestHead) -> bool:
    target = head.target
    if head.version != b"1.1":
        return False
    return is_for_service(target) or surface_of(target.partition(b"?")[0]) is not None
