"""A stream to where a service listens: a port, perhaps with TLS, or a UNIX socket."""

import functools
import ssl
from typing import TypeAlias

import trio

from ._protocol import Endpoint

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def dial(endpoint: Endpoint, *, local_address: str | None = None) -> Stream:
    """Connect.

    Raises:
        OSError: nobody listens there, or it is not who it should be.
    """
    if endpoint.socket is not None:
        return await trio.open_unix_socket(endpoint.socket)
    plain = await trio.open_tcp_stream(endpoint.host, endpoint.port, local_address=local_address)
    if not endpoint.tls:
        return plain
    try:
        # Contexts read the system's authorities from the disk: some milliseconds, once.
        context = _context(endpoint.ca)
        # As browsers: a peer that hangs up without a farewell has merely hung up, since HTTP has
        # framing of its own.
        stream = trio.SSLStream(
            plain, context, server_hostname=endpoint.host, https_compatible=True
        )
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        plain.socket.close()
        why = error.__cause__
        if isinstance(why, ssl.SSLCertVerificationError):
            raise ConnectionError(f"its certificate is not good: {why.verify_message}") from error
        raise ConnectionError(f"no TLS with it: {why or 'it hung up'}") from error
    except BaseException:
        plain.socket.close()
        raise
    return stream


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """Return what is below, to look at and to close at once."""
    return (
        stream.socket if isinstance(stream, trio.SocketStream) else stream.transport_stream.socket
    )


@functools.lru_cache(maxsize=64)
def _context(ca: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)
