"""Reads `server.tls`: whether its certificate can be used, and where."""

from pathlib import Path

from proxyserver.certificates import Certificate, CertificateError

from ._errors import Problems
from ._model import ServerEntry
from ._settings import Tls


def tls_of(server: ServerEntry, found: Problems) -> Tls | None:
    """Return where TLS is spoken, and by which certificate; None: nowhere."""
    entry = server.tls
    if entry is None:
        return None
    cert, key = Path(entry.cert), None if entry.key is None else Path(entry.key)
    try:
        Certificate(cert, key)
    except CertificateError as error:
        found.add(("server", "tls", "key" if key and error.of_key else "cert"), str(error))
    if entry.port is None:
        if entry.host is not None:
            found.add(("server", "tls", "host"), "needs a `port` beside it; else it is server.host")
        return Tls(cert, key, None, None)
    host = entry.host or server.host
    if entry.port and (host, entry.port) == (server.host, server.port):
        found.add(
            ("server", "tls", "port"), "is that of plain HTTP; without it TLS takes its place"
        )
    return Tls(cert, key, host, entry.port)
