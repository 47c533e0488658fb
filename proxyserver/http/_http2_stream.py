"""One request of an HTTP/2 connection, as ASGI sees it: its body comes, its answer goes."""

import math
from collections import deque
from typing import Protocol

import trio
from starlette.types import Message, Scope

from proxyserver.wire import Header, RequestHead

from ._asgi_exchange import CLIENT_GONE, HEAD, INFORMATIONAL, TAKES_MORE, TRAILERS
from ._client_side import SEND_S, ClientSide
from ._exchange import ClientGone

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""What HTTP/2 has no use for, and forbids (RFC 9113, 8.2.2)."""


class Frames(Protocol):
    """Who sends and counts the frames of a connection."""

    def send_headers(self, stream: int, headers: list[Header], *, end: bool = False) -> None:
        """Send a head, or trailers.

        Raises:
            ClientGone: the client has reset the stream.
        """

    def send_data(self, stream: int, data: memoryview) -> int:
        """Send as much as the client lets us now; return how much that was.

        Raises:
            ClientGone: as above.
        """

    def send_end(self, stream: int) -> None:
        """Send the end.

        Raises:
            ClientGone: as above.
        """

    def acknowledge(self, stream: int, size: int) -> None:
        """Let the client send so much more."""

    async def wait_change(self) -> None:
        """Wait until something came of the client, or was taken by it."""


class Http2Stream:
    """One request; it is cancelled when the client resets it.

    What a client sends is bounded by the windows of flow control, for nothing is acknowledged
    before it is read; what we send, by those of the client.
    """

    def __init__(
        self, number: int, head: RequestHead, side: ClientSide, frames: Frames, *, whole: bool
    ) -> None:
        self.number = number
        self.cancelled = trio.CancelScope()
        self.ended = False
        """Our answer is whole."""
        self.whole = whole
        """The request has come to its end."""
        self._head = head
        self._side = side
        self._frames = frames
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._told_end = False
        self._left = trio.Event()
        self._silent = head.method == b"HEAD"
        """The answer has no body, whatever is given for one."""

    @property
    def has_left(self) -> bool:
        """Whether the client has reset the request, or gone for good."""
        return self._left.is_set() or self._side.gone.is_set()

    def leave(self) -> None:
        """Note that the client has reset the request."""
        self._left.set()
        self.cancelled.cancel()

    def scope(self) -> Scope:
        path, _, query = self._head.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": "2",
            "method": self._head.method.decode(),
            "scheme": self._side.scheme.decode(),
            "path": path.decode(),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._head.headers(),
            "client": (self._side.address.decode(), 0),
            "server": None,
            "state": {
                CLIENT_GONE: lambda: self.has_left,
                HEAD: self._head,
                TAKES_MORE: True,
            },
            "extensions": {},
        }

    # The request

    def feed(self, data: bytes, counted: int) -> None:
        """Take a piece of the body, and what it counts for in the windows."""
        self._pieces.append((data, counted))

    def forget(self) -> None:
        """Let go of what nobody has read, so that the client may send something else."""
        if counted := sum(size for _, size in self._pieces):
            self._frames.acknowledge(self.number, counted)
        self._pieces.clear()

    async def receive(self) -> Message:
        while not self._pieces and not self.whole:
            await self._frames.wait_change()
        if self._told_end:
            await self._left.wait()
            return {"type": "http.disconnect"}
        data = b""
        if self._pieces:
            data, counted = self._pieces.popleft()
            self._frames.acknowledge(self.number, counted)
        self._told_end = self.whole and not self._pieces
        return {"type": "http.request", "body": data, "more_body": not self._told_end}

    # The answer

    async def send(self, message: Message) -> None:
        match kind := message["type"]:
            case "http.response.start":
                status = message["status"]
                self._silent = self._silent or status in (204, 304)
                self._send_head(status, message["headers"])
            case _ if kind == INFORMATIONAL:
                self._send_head(message["status"], message["headers"])
            case _ if kind == TRAILERS:
                self._frames.send_headers(self.number, _kept(message["headers"]), end=True)
                self.ended = True
            case _:
                if not self._silent:
                    await self._send_body(message.get("body", b""))
                if not message.get("more_body", False):
                    self._frames.send_end(self.number)
                    self.ended = True

    def _send_head(self, status: int, headers: list[Header]) -> None:
        kept = _kept(headers)
        if status == 304:
            # Clients with the library h2 (httpx) take the length of what there is for that of the
            # body, and complain that it does not come.
            kept = [one for one in kept if one[0] != b"content-length"]
        self._frames.send_headers(self.number, [(b":status", b"%d" % status), *kept])

    async def _send_body(self, data: bytes) -> None:
        left = memoryview(data)
        with trio.CancelScope() as patience:
            while left:
                sent = self._frames.send_data(self.number, left)
                left = left[sent:]
                if sent:
                    patience.deadline = math.inf
                else:
                    if patience.deadline == math.inf:
                        patience.deadline = trio.current_time() + SEND_S
                    await self._frames.wait_change()
        if patience.cancelled_caught:
            self._left.set()
            raise ClientGone


def _kept(headers: list[Header]) -> list[Header]:
    lower = ((name.lower(), value) for name, value in headers)
    return [(name, value) for name, value in lower if name not in _HOP_BY_HOP]
