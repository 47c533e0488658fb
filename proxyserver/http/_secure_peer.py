"""TLS over a `Peer`, which it can stand in for: the same buffer, the same ends of a connection."""

import ssl
from contextlib import suppress
from typing import cast

import trio

from ._peer import VIEW, Bytes, Peer


class SecurePeer:
    """A client that speaks TLS; one task reads from it and one sends to it at a time."""

    def __init__(self, peer: Peer, context: ssl.SSLContext, data: bytes) -> None:
        """Take over a connection.

        Args:
            peer: whose connection.
            context: with our certificate.
            data: what has come of the client's handshake.
        """
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        self._more = False
        """There may be more than what was read last."""

    @property
    def stuck_since(self) -> float | None:
        return self._peer.stuck_since

    async def shake_hands(self) -> str | None:
        """Do the handshake; return the protocol that both sides know, if the client named any.

        Raises:
            trio.BrokenResourceError: the client speaks no TLS that we know, or has left.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_sealed()
                if not await self._receive_sealed():
                    raise trio.BrokenResourceError from None
            except ssl.SSLError as error:
                await self._send_sealed()  # It tells the client why.
                raise trio.BrokenResourceError from error
            else:
                await self._send_sealed()
                self._more = True
                return self._tls.selected_alpn_protocol()

    async def receive(self, view: memoryview = VIEW) -> int:
        """Read into `BUFFER`, as a `Peer` does.

        Args:
            view: The beginning of the buffer that is to be used.

        Raises:
            trio.BrokenResourceError: the client broke off, or sent what is no TLS.
            trio.ClosedResourceError: we closed.
        """
        if self._more:
            await trio.lowlevel.checkpoint()
        while True:
            size = self._unseal(view)
            if size is not None:
                return size
            if not await self._receive_sealed():
                return 0

    def _unseal(self, view: memoryview) -> int | None:
        """Move what has come into `BUFFER`; return how much, 0 at the end; None: nothing has."""
        size = 0
        try:
            while size < len(view):
                # A record at a time; typed as bytes, though with a buffer it is their number.
                got = cast(int, self._tls.read(len(view) - size, view[size:]))
                if got == 0:
                    break
                size += got
        except ssl.SSLWantReadError:
            self._more = False
            return size or None
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        self._more = True
        return size

    async def _receive_sealed(self) -> int:
        size = await self._peer.receive()
        self._incoming.write(VIEW[:size])
        return size

    def send_nowait(self, data: Bytes) -> bool:
        """Send what the kernel takes, as a `Peer` does.

        Raises:
            trio.BrokenResourceError: the client broke off.
            trio.ClosedResourceError: we closed.
        """
        if not data:
            return True
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        return self._peer.send_nowait(self._outgoing.read())

    async def flush(self) -> None:
        """Send what is kept, as a `Peer` does."""
        await self._peer.flush()

    async def send(self, data: Bytes) -> None:
        """Send all, as a `Peer` does."""
        if not self.send_nowait(data):
            await self.flush()

    async def _send_sealed(self) -> None:
        if self._outgoing.pending:
            await self._peer.send(self._outgoing.read())

    def send_last(self, data: bytes) -> None:
        """Send a last word, as a `Peer` does."""
        with suppress(ssl.SSLError):
            self._tls.write(data)
        self._peer.send_last(self._outgoing.read())

    async def send_end(self) -> None:
        """Send the end of the stream."""
        self._seal_end()
        await self._send_sealed()
        await self._peer.send_end()

    def _seal_end(self) -> None:
        with suppress(ssl.SSLError):  # The client's end is not waited for.
            self._tls.unwrap()

    def close(self) -> None:
        """Close at once, with a last word if that is taken at once."""
        self._seal_end()
        self._peer.send_last(self._outgoing.read())
        self._peer.close()

    def reset(self) -> None:
        """Close so that nobody takes it for the end of an answer."""
        self._peer.reset()
