"""The ways in which the requests of a test come: by a lane, over TLS, by a UNIX socket."""

import tempfile
from contextvars import ContextVar
from pathlib import Path

import trio

from proxyserver.certificates import Certificate
from proxyserver.http import Place, TcpPlace, UnixPlace
from tests.rig.certificates import certificate_files, client_context

from .bridge import bridged

LANE: ContextVar[str] = ContextVar("lane", default="fast")
"""How requests come: on the `fast` lane, on the same over `tls` or a `unix` socket, all by
`hypercorn`, or by HTTP/2 (`h2`)."""


def place_for_clients() -> Place:
    """Return where the server is to listen."""
    match LANE.get():
        case "unix":
            return UnixPlace(Path(tempfile.mkdtemp(prefix="aiproxy-test-")) / "it.sock")
        case "tls" | "h2":
            return TcpPlace("127.0.0.1", 0, Certificate(*certificate_files()))
    return TcpPlace("127.0.0.1", 0)


async def connect(
    port: int, path: Path | None, nursery: trio.Nursery
) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    """Return a connection to where it listens."""
    if path is not None:
        return await trio.open_unix_socket(path)
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    lane = LANE.get()
    if lane not in ("tls", "h2"):
        return plain
    context = client_context("h2" if lane == "h2" else "http/1.1")
    secure = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
    await secure.do_handshake()
    return await bridged(secure, nursery) if lane == "h2" else secure
