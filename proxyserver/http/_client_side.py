"""The client's side of a connection: what has come, and whether the client is still there."""

import socket
from collections.abc import Callable

import attrs
import trio

from ._peer import Peer
from ._secure_peer import SecurePeer

IDLE_S = 75.0
"""How long a connection may be idle."""
HANDSHAKE_S = 20.0
"""How long a client may take for its TLS handshake; hypercorn and Apache allow as much."""
HEAD_S = 60.0
"""How long a client may take to send a head."""
SEND_S = 300.0
"""A client that takes nothing for so long is gone, whatever its kernel says."""


@attrs.define(eq=False)
class ClientSide:
    """A client's connection, whichever lane it is on."""

    socket: socket.socket
    address: bytes
    scheme: bytes = b"http"
    unread: bytes = b""
    """What has come and was not used yet."""
    gone: trio.Event = attrs.field(factory=trio.Event)
    """The client has left."""
    closing: bool = False
    """This is the last answer."""
    idle: bool = False
    """Nothing has come of the next request."""
    is_late: bool = False
    """It began a request, and did not come to the end of its head."""
    waits: float | None = None
    """For how many seconds its next request, or the head of it, may be waited for."""
    ends: Callable[[], None] | None = None
    """What to do when this answer shall be the last, where there are several at once."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """All that is done for this client."""
    turn: int = 0
    """Which request that is."""
    _seen: tuple[int, float | None] = (0, None)
    _since: float = 0.0
    peer: Peer | SecurePeer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.peer = Peer(self.socket, self.leave)

    def leave(self) -> None:
        """Note that the client has left."""
        self.gone.set()
        self.scope.cancel()

    def end(self) -> None:
        """Let this answer be the last."""
        self.closing = True
        if self.idle:
            self.scope.cancel()
        elif self.ends is not None:
            self.ends()

    def sweep(self, now: float) -> None:
        """End it if the client has kept us waiting for too long."""
        # Points in time are taken here, not where they are too many.
        if self.waits is None or self._seen != (self.turn, self.waits):
            self._seen, self._since = (self.turn, self.waits), now
        elif now - self._since >= self.waits:
            self.is_late = not self.idle
            self.scope.cancel()
        stuck_since = self.peer.stuck_since
        if stuck_since is not None and now - stuck_since >= SEND_S:
            self.leave()
