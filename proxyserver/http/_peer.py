"""A connected socket of one task, below Trio's streams: bytes go through one buffer of all tasks.

What was read lies in `BUFFER` until the next checkpoint, and not longer: it is used at once, or
copied.  So a stream costs no memory of its own while it flows.  What a slow reader does not take is
copied, and nothing more is read for it meanwhile; when much is kept in that way, over all peers,
less is read at a time.

Every read is a checkpoint, so that after a full buffer others have their turn; it waits before it
tries, because a request, or a token, is never there yet.  What is only passed on needs no task for
each token: `relay` has it done where it is told that something has come.
"""

import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import TypeAlias

import outcome
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
Step: TypeAlias = Callable[[int], bool]
"""Takes so many bytes out of `BUFFER`; False: it wants no more."""


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
        self._step: Step | None = None
        self._rest = memoryview(b"")
        """What is to be sent before anything else."""
        self._poller = poller()
        self._poller.add(sock.fileno(), self)

    def happened(self, events: int) -> None:
        if events & _HANGUP and not self._hung_up:
            self._hung_up = True
            if self._on_hangup is not None:
                self._on_hangup()
        if events & _READABLE:
            self._readable = True
            if self._step is not None:
                self._relay(self._step)
            elif self._reader is not None:
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
        self._reader = self._step = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def relay(self, step: Step) -> int:
        """Let `step` take what comes, at once, until it is the turn of the task; as `receive`.

        Args:
            step: Takes what was read; it must return at once.

        Returns:
            How much the last read gave, which `step` has taken, too; 0 at the end of the stream.

        Raises:
            Exception: whatever `step` raises, and what `receive` does.
        """
        while not self._readable and self.socket.fileno() >= 0:
            self._reader, self._step = trio.lowlevel.current_task(), step
            size: int | None = await trio.lowlevel.wait_task_rescheduled(self._stop_reading)
            if size is not None:
                return size
        size = await self.receive()
        if size:
            step(size)
        return size

    def _relay(self, step: Step) -> None:
        """Read, and let `step` take it; wake the task unless there is nothing for it to do."""
        sock = self.socket
        view = VIEW if Kept.total < KEPT_MAX else VIEW[:SMALL]
        try:
            size = sock.recv_into(view)
            more = size > 0 and step(size)
            if size < len(view) and not self._hung_up:
                self._readable = False
                if more:
                    return
            told: outcome.Outcome[int] = outcome.Value(size)
        except BlockingIOError:
            self._readable = False
            return
        except OSError as error:
            gone = _gone(sock)
            gone.__cause__ = error
            told = outcome.Error(gone)
        except Exception as error:
            told = outcome.Error(error)
        task, self._reader, self._step = self._reader, None, None
        if task is not None:
            trio.lowlevel.reschedule(task, told)

    def send_nowait(self, data: Bytes) -> bool:
        """Send what the kernel takes, and keep the rest; False: `flush` has to be awaited now.

        Raises:
            trio.BrokenResourceError: the peer broke off.
            trio.ClosedResourceError: we closed.
        """
        sock = self.socket
        sent = 0
        if not self._rest:
            try:
                sent = sock.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise _gone(sock) from error
            if sent == len(data):
                return True
        self._rest = memoryview(b"%s%s" % (self._rest, data[sent:]))
        Kept.total += len(data) - sent
        return False

    async def flush(self) -> None:
        """Send what is kept; what is left when this is cancelled goes before what is sent next.

        Raises:
            trio.BrokenResourceError: the peer broke off.
            trio.ClosedResourceError: we closed.
        """
        sock = self.socket
        try:
            while self._rest:
                try:
                    sent = sock.send(self._rest)
                except BlockingIOError:
                    self.stuck_since = trio.current_time()
                    self._writer = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_writing)
                    if sock.fileno() < 0:
                        raise trio.ClosedResourceError from None
                except OSError as error:
                    raise _gone(sock) from error
                else:
                    self._rest = self._rest[sent:]
                    Kept.total -= sent
        finally:
            self.stuck_since = None

    def _stop_writing(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def send(self, data: Bytes) -> None:
        """Send all; while the kernel takes it, without a checkpoint.

        Raises:
            trio.BrokenResourceError: the peer broke off.
            trio.ClosedResourceError: we closed.
        """
        if not self.send_nowait(data):
            await self.flush()

    def send_last(self, data: bytes) -> None:
        """Send a last word; what is not taken at once is lost."""
        if not self._rest:
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
        self._reader = self._writer = self._step = None
        Kept.total -= len(self._rest)
        self._rest = memoryview(b"")

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

    async def relay(self, step: Step) -> int:
        size = await self.receive()
        if size:
            step(size)
        return size

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
