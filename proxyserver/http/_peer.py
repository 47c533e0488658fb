"""A connected socket of one task, below Trio's streams: bytes go through one buffer of all tasks.

What was read lies in `BUFFER` until the next checkpoint, and not longer: it is used at once, or
copied.  So a stream costs no memory of its own while it flows.  What a slow reader does not take is
copied, and nothing more is read for it meanwhile; when much is kept in that way, over all peers,
less is read at a time.

Every read is a checkpoint, so that after a full buffer others have their turn; it waits before it
tries, because a request, or a token, is never there yet.
"""

import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import TypeAlias

import trio

from proxyserver.runtime import Stream, socket_of

from ._poller import poller

BUFFER = bytearray(256 * 1024)
"""256 KiB at a time cost half of what 64 KiB do, and hardly more than splicing in the kernel."""
VIEW = memoryview(BUFFER)
SMALL = 16 * 1024
KEPT_MAX = 64 * 1024 * 1024
"""Bytes kept, over all connections, above which we read in small pieces."""
TLS_MAX = 64 * 1024

_HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READABLE = select.EPOLLIN | _HANGUP
_WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

Bytes: TypeAlias = bytes | bytearray | memoryview


class Kept:
    """What waits in memory for somebody who is slow, or for a place, over all connections."""

    total = 0


class Peer:
    """A plain connection."""

    def __init__(self, sock: socket.socket, on_hangup: Callable[[], None] | None = None) -> None:
        """Take over a socket.

        Args:
            sock: which.
            on_hangup: is called when the peer closes, or half-closes, the connection, whatever of
                its bytes is still to be read.
        """
        sock.setblocking(False)
        self.socket = sock
        self.stuck_since: float | None = None
        """Since when it has taken nothing of what is to be sent; None: nothing is kept for it."""
        self._on_hangup = on_hangup
        self._readable = False
        self._hung_up = False
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        self._poller = poller()
        self._poller.add(sock.fileno(), self)

    def happened(self, events: int) -> None:
        if events & _HANGUP and not self._hung_up:
            self._hung_up = True
            if self._on_hangup is not None:
                self._on_hangup()
        if events & _READABLE:
            self._readable = True
            if self._reader is not None:
                trio.lowlevel.reschedule(self._reader)
                self._reader = None
        if self._writer is not None and events & _WRITABLE:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    async def receive(self, view: memoryview = VIEW) -> int:
        """Read into `BUFFER`; return how many bytes, 0 at the end of the stream.

        Args:
            view: The beginning of the buffer that is to be used.

        Raises:
            trio.BrokenResourceError: the peer broke off.
            trio.ClosedResourceError: we closed.
        """
        sock = self.socket
        if self._readable:
            await trio.lowlevel.checkpoint()
        while True:
            if not self._readable:
                if sock.fileno() < 0:
                    raise trio.ClosedResourceError
                self._reader = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_reading)
            if Kept.total >= KEPT_MAX:
                view = VIEW[:SMALL]
            try:
                size = sock.recv_into(view)
            except BlockingIOError:
                self._readable = False
                continue
            except OSError as error:
                raise _gone(sock) from error
            # Less than was asked for is all there is (epoll(7)), but for the end of the stream.
            if size < len(view) and not self._hung_up:
                self._readable = False
            return size

    def _stop_reading(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def send(self, data: Bytes) -> None:
        """Send all; while the kernel takes it, without a checkpoint.

        Raises:
            trio.BrokenResourceError: the peer broke off.
            trio.ClosedResourceError: we closed.
        """
        sock = self.socket
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise _gone(sock) from error
        if sent != len(data):
            await self._send_rest(bytes(data[sent:]))

    async def _send_rest(self, rest: bytes) -> None:
        sock = self.socket
        left = memoryview(rest)
        Kept.total += len(rest)
        try:
            while left:
                try:
                    left = left[sock.send(left) :]
                except BlockingIOError:
                    self.stuck_since = trio.current_time()
                    self._writer = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_writing)
                except OSError as error:
                    raise _gone(sock) from error
        finally:
            self.stuck_since = None
            Kept.total -= len(rest)

    def _stop_writing(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    def send_nowait(self, data: bytes) -> None:
        """Send a last word; what is not taken at once is lost."""
        with contextlib.suppress(OSError):
            self.socket.send(data)

    async def send_end(self) -> None:
        """Send the end of the stream, if there still is somebody."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def readable(self) -> bool:
        """Tell whether something has come, the end of the stream included."""
        if not self._readable and self.socket.fileno() >= 0:
            return False  # We would have been told.
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        """Close at once; whoever waits here gets a `ClosedResourceError`."""
        sock = self.socket
        if sock.fileno() < 0:
            return
        self._poller.remove(sock.fileno())
        sock.close()
        for task in (self._reader, self._writer):
            if task is not None:
                trio.lowlevel.reschedule(task)  # It will find the socket closed.
        self._reader = self._writer = None

    def reset(self) -> None:
        """Close so that nobody takes it for the end of an answer."""
        if self.socket.fileno() >= 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()


class TlsPeer:
    """The same over TLS, for services elsewhere; it copies once more."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def receive(self) -> int:
        data = await self._stream.receive_some(TLS_MAX)
        VIEW[: len(data)] = data
        return len(data)

    async def send(self, data: Bytes) -> None:
        # What is below keeps it over checkpoints.
        await self._stream.send_all(bytes(data))

    def readable(self) -> bool:
        descriptor = socket_of(self._stream).fileno()
        return descriptor < 0 or bool(select.select([descriptor], [], [], 0)[0])

    def close(self) -> None:
        socket_of(self._stream).close()


AnyPeer: TypeAlias = Peer | TlsPeer


def peer_of(stream: Stream) -> AnyPeer:
    """Return what a stream is connected with; the stream itself is not to be used any more."""
    if isinstance(stream, trio.SocketStream):
        return Peer(socket.socket(fileno=stream.socket.detach()))
    return TlsPeer(stream)


def _gone(sock: socket.socket) -> Exception:
    return trio.ClosedResourceError() if sock.fileno() < 0 else trio.BrokenResourceError()
