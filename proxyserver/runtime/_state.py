"""Small files that outlive the daemon: written at once or not at all, so never half."""

import contextlib
import secrets
from pathlib import Path
from urllib.parse import quote

from proxycore import ServiceId

_INSTANCE_CHARACTERS = frozenset("0123456789abcdef")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file such that whoever reads it finds the old one or the new, even after kill -9.

    It is not forced to the disk: what these files speak of does not survive a power cut either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    try:
        half.write_bytes(data)
        half.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def file_name(service: ServiceId) -> str:
    """Return the service's id as a file name, whatever characters it has."""
    return quote(service, safe="").replace(".", "%2E")


def instance_id(state_dir: Path) -> str:
    """Return the short id of the daemon that owns this folder; made once.

    It marks what is ours: two daemons with two folders never touch each other's runs.
    """
    path = state_dir / "instance"
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        known = ""
    if known and set(known) <= _INSTANCE_CHARACTERS:
        return known
    made = secrets.token_hex(4)
    write_atomically(path, f"{made}\n".encode())
    return made
