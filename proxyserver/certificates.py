"""A certificate with its key: checked when it is named, read anew when its files change."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
KEY = b" PRIVATE KEY-----"
ALPN = ("h2", "http/1.1")
_EXPIRED, _NOT_YET = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""


class CertificateError(Exception):
    """The files cannot be used; the text says why, and what would help."""

    def __init__(self, message: str, *, of_key: bool = False) -> None:
        super().__init__(message)
        self.of_key = of_key
        """It is the key that is wrong."""


class Certificate:
    """What we show to clients over TLS.

    Whoever renews certificates (certbot, a cron job) writes the files anew and tells nobody: so
    each new connection looks whether they have changed.  When the new ones are wrong, or only one
    of the two has been written yet, the old ones go on.

    Args:
        cert: the certificate, followed by those of its issuers, in PEM.
        key: its private key, in PEM; None: it is in the same file.

    Raises:
        CertificateError: they cannot be used.
    """

    def __init__(self, cert: Path, key: Path | None = None) -> None:
        self._files = (cert, key or cert)
        self._seen = _stamps(self._files)
        self._context = _context(*self._files)

    def context(self) -> ssl.SSLContext:
        """Return how to speak with a client that comes now."""
        if (seen := _stamps(self._files)) != self._seen:
            self._seen = seen
            try:
                self._context = _context(*self._files)
                logger.info("the certificate {} has changed, and is in use", self._files[0])
            except CertificateError as error:
                logger.warning("the certificate changed, and the old one stays: {}", error)
        return self._context


def _stamps(files: Sequence[Path]) -> list[tuple[int, ...]]:
    stamps: list[tuple[int, ...]] = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            stamps.append(())
        else:
            stamps.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return stamps


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    _check_has(cert, CERTIFICATE, "certificate", of_key=False)
    _check_has(key, KEY, "private key", of_key=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(ALPN)

    def ask_nobody() -> str:
        raise CertificateError(
            f"{key} needs a password, and nobody is there to give it; take it off with"
            f" `openssl pkey -in {key} -out FILE`",
            of_key=True,
        )

    try:
        context.load_cert_chain(cert, key, ask_nobody)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key} is not the key of {cert}", of_key=True) from None
        raise CertificateError(f"{cert} with the key {key}: {error}") from None
    except OSError as error:
        raise CertificateError(f"{cert} with the key {key}: {error.strerror}") from None
    _check_valid(context, cert)
    return context


def _check_has(file: Path, mark: bytes, what: str, *, of_key: bool) -> None:
    """Find out what is wrong with a file, of which OpenSSL says `PEM lib`."""
    try:
        found = mark in file.read_bytes()
    except OSError as error:
        raise CertificateError(f"{file} cannot be read: {error.strerror}", of_key=of_key) from None
    if not found:
        raise CertificateError(f"{file} has no {what} in PEM", of_key=of_key)


def _check_valid(server: ssl.SSLContext, cert: Path) -> None:
    """Refuse a certificate that every client would: by a client that trusts it but for its dates.

    Python tells of a certificate only what a handshake has shown to be good.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True))
    for _ in range(4):  # A handshake has at most as many turns.
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                if error.verify_code in (_EXPIRED, _NOT_YET):
                    when = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
                    raise CertificateError(f"{cert} {when}; renew it, or set the clock") from None
                return  # Whatever else there is against it, its clients may know better.
            except ssl.SSLError as error:
                raise CertificateError(f"{cert} cannot be used: {error}") from None
