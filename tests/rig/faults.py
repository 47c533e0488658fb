"""A network that fails: a TCP proxy which delays, slows, cuts, swallows and refuses, as told."""

import enum
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import trio

PIECE = 16 * 1024
TURN_S = 0.02
"""A limited rate is kept over so long."""


class Ending(enum.Enum):
    """How a way ends."""

    CLOSE = "close"
    """In good order (FIN), for both sides."""
    RESET = "reset"
    """With a RST, for both sides."""
    SILENCE = "silence"
    """Not at all: nothing passes any more, and nobody is told."""


@attrs.define(eq=False)
class Way:
    """What happens to the bytes that go one way; may be changed at any time."""

    latency_s: float = 0.0
    """For each piece, one after the other."""
    rate: float | None = None
    """Bytes a second."""
    ends_after: int | None = None
    """So many bytes of a connection pass."""
    ending: Ending = Ending.CLOSE
    passed: int = 0
    """Bytes, over all connections."""
    kept: bytearray | None = None
    """All that passed, if somebody wants it."""


@attrs.define(eq=False)
class FaultProxy:
    """Stands before `target` on loopback."""

    target: int
    """A port."""
    port: int = 0
    up: Way = attrs.field(factory=Way)
    """From who connects to the target."""
    down: Way = attrs.field(factory=Way)
    refuses: bool = False
    """A connection is accepted and reset at once, as by the proxy of a container that starts."""
    accepted: int = 0
    open: int = 0

    async def _handle(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        self.open += 1
        try:
            if self.refuses:
                _reset(near)
                return
            try:
                far = await trio.open_tcp_stream("127.0.0.1", self.target)
            except OSError:
                _reset(near)
                return
            async with far, trio.open_nursery() as ways:
                end = partial(self._end, ways.cancel_scope, near, far)
                ways.start_soon(self._carry, near, far, self.up, end)
                ways.start_soon(self._carry, far, near, self.down, end)
        finally:
            near.socket.close()
            self.open -= 1

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, way: Way, end: "partial[None]"
    ) -> None:
        passed = 0
        try:
            while True:
                if way.ends_after is not None and passed >= way.ends_after:
                    if way.ending is Ending.SILENCE:
                        await trio.sleep_forever()
                    end(way.ending)
                    return
                size = PIECE if way.ends_after is None else min(PIECE, way.ends_after - passed)
                if way.rate is not None:
                    size = min(size, max(1, int(way.rate * TURN_S)))
                data = await source.receive_some(size)
                if not data:
                    await sink.send_eof()
                    return
                await trio.sleep(way.latency_s)
                await sink.send_all(data)
                passed += len(data)
                way.passed += len(data)
                if way.kept is not None:
                    way.kept += data
                if way.rate is not None:
                    await trio.sleep(len(data) / way.rate)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            end(Ending.RESET)

    @staticmethod
    def _end(
        scope: trio.CancelScope, near: trio.SocketStream, far: trio.SocketStream, ending: Ending
    ) -> None:
        for stream in (near, far):
            if ending is Ending.RESET:
                _reset(stream)
            else:
                # Closing alone would reset where bytes are unread.
                with suppress(OSError):
                    stream.socket.shutdown(socket.SHUT_WR)
        scope.cancel()


def _reset(stream: trio.SocketStream) -> None:
    if stream.socket.fileno() >= 0:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


@asynccontextmanager
async def fault_proxy(target: int) -> AsyncIterator[FaultProxy]:
    """Run one before a port of loopback; without a word it is a plain proxy."""
    proxy = FaultProxy(target)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, proxy._handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        _, proxy.port = listeners[0].socket.getsockname()
        yield proxy
        nursery.cancel_scope.cancel()
