"""Certificates of an authority that only the tests know, made when they are first wanted."""

import functools
import ssl
import tempfile
from pathlib import Path

import trustme


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="aiproxy-test-tls-")


def authority_file() -> Path:
    """Return the authority's certificate, for clients that take a file."""
    path = Path(_folder().name) / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    return path


@functools.cache
def certificate_files() -> tuple[Path, Path]:
    """Return a good certificate for this machine, and its key."""
    folder = Path(_folder().name)
    return write_certificate(folder, authority().issue_cert("localhost", "127.0.0.1", "::1"))


def write_certificate(folder: Path, made: trustme.LeafCert) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return cert, key


@functools.cache
def client_context(*protocols: str) -> ssl.SSLContext:
    """Return how a client speaks that trusts the authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context
