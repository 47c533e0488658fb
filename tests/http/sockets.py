"""A connection of a test, read and written byte by byte, never without a limit."""

import socket
import struct

import attrs
import trio

PATIENCE_S = 10.0
"""What should happen at once and did not by then, will not."""
PROMPT_S = 1.0
"""What "at once" is allowed to take on a busy machine."""


@attrs.define(eq=False)
class Wire:
    """A connection, read and written byte by byte; everything read is bounded in time."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    buffer: bytes = b""
    closed: bool = False

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.stream.send_all(data)

    async def more(self) -> bool:
        """Read some more; False: the peer has ended the stream."""
        with trio.fail_after(PATIENCE_S):
            data = await self.stream.receive_some(65536)
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Return everything up to the mark, and the mark."""
        while mark not in self.buffer:
            assert await self.more(), f"ended before {mark!r}: {self.buffer!r}"
        end = self.buffer.index(mark) + len(mark)
        found, self.buffer = self.buffer[:end], self.buffer[end:]
        return found

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert await self.more(), f"ended after {len(self.buffer)} of {size} bytes"
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    async def rest(self) -> bytes:
        """Return everything up to the end of the stream."""
        while await self.more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    async def wait_closed(self, within_s: float = PROMPT_S) -> None:
        """Wait until the peer closes, reading away what it still sends."""
        with trio.fail_after(within_s):
            try:
                while await self.stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass

    def close(self, *, reset: bool = False) -> None:
        """Close without another word, of TLS neither."""
        below = self.stream
        sock = (below if isinstance(below, trio.SocketStream) else below.transport_stream).socket
        if reset:
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        sock.close()
