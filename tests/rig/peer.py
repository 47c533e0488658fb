"""A server elsewhere: HTTPS with a certificate of an authority that nobody knows."""

import contextlib
import http.server
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from socket import AF_INET, AF_UNIX

import attrs


@attrs.define
class Peer:
    """Where it is, and what it was told."""

    url: str
    ca: Path
    """The certificate, which is its own authority."""
    key: str | None = None
    """The `Authorization` without which it says no."""
    well: bool = True
    """Else its health says 503."""
    heads: list[Mapping[str, str]] = attrs.field(factory=list)
    paths: list[str] = attrs.field(factory=list)
    """Of completions only."""


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for an address and its key, by the command `openssl`."""
    certificate, key = folder / "peer.pem", folder / "peer.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=peer", "-addext", f"subjectAltName=IP:{name}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextlib.contextmanager
def peer(
    folder: Path, *, name: str = "127.0.0.1", key: str | None = None, socket: Path | None = None
) -> Iterator[Peer]:
    """Serve completions under `/api` on loopback, with a certificate for `name`.

    With a socket it listens there, without TLS.
    """
    chain, private = certificate(folder, name)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers["Authorization"] != found.key:
                self._answer(401, b"{}")
            else:
                self._answer(200 if found.well else 503, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.heads.append(dict(self.headers.items()))
            found.paths.append(self.path)
            if json.loads(body).get("stream"):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for data in (b"data: one\n\n", b"data: [DONE]\n\n", b""):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            else:
                self._answer(200, body)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the test's output is for the test."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        address_family = AF_INET if socket is None else AF_UNIX

        def server_bind(self) -> None:
            socketserver.TCPServer.server_bind(self)  # Without asking for the name of a socket.

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of those who hang up."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    # Typed for ports alone.
    server = Server(("127.0.0.1", 0) if socket is None else str(socket), Handler)  # type: ignore[arg-type]
    if socket is None:
        # Else one who only connects would hold up all others.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever)
    port = server.socket.getsockname()[1] if socket is None else 0
    found = Peer(f"https://127.0.0.1:{port}/api", chain, key)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
