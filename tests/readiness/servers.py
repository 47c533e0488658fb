"""Little servers that misbehave in one way each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import attrs
import trio

from proxyserver.runtime._protocol import Endpoint

Handler: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]

YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOADING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def answer(content: bytes) -> Handler:
    """Answer any request with these bytes, then hang up."""

    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(content)

    return handle


async def hang_up(stream: trio.SocketStream) -> None:
    """Close without reading, which resets the connection, as docker-proxy does."""


async def keep_silent(stream: trio.SocketStream) -> None:
    """Read, and never answer."""
    await trio.sleep_forever()


@attrs.define
class Server:
    """A listener whose manners can be changed while it runs."""

    endpoint: Endpoint
    handler: Handler
    asked: int = 0
    peers: set[str] = attrs.field(factory=set)

    async def handle(self, stream: trio.SocketStream) -> None:
        self.asked += 1
        self.peers.add(stream.socket.getpeername()[0])
        async with stream:
            try:
                await self.handler(stream)
            except trio.BrokenResourceError:
                return


@asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        host, bound = listener.socket.getsockname()
        server = Server(Endpoint(host, bound), handler)
        nursery.start_soon(trio.serve_listeners, server.handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def free_port() -> int:
    """Return a port on which nothing listens (and to which nobody else is drawn at once)."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
        return port
