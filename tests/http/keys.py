"""The keys of tests, and how to ask with one of them."""

import base64
import json
from typing import Any

from proxyserver.access import Key, Role, digest_of, hashed, new_key

from .rig import Rig, Server

ORIGIN = "https://chat.example.com"
"""A site whose pages may ask, where a test lists it."""
SECRETS = {
    name: new_key() for name in ("user", "boss", "both", "coder", "tiny", "slow", "one", "eye")
}


def key_of(name: str, *roles: Role, **limits: Any) -> Key:
    digest = digest_of(hashed(SECRETS[name]))
    assert digest is not None
    return Key(name, digest, frozenset(roles), **limits)


KEYS = (
    key_of("user", "inference"),
    key_of("boss", "admin"),
    key_of("eye", "metrics"),
    key_of("both", "inference", "admin"),
    key_of("coder", "inference", services=("coder",)),
    key_of("tiny", "inference", services=("many/tiny",)),
    key_of("slow", "inference", requests_per_minute=2),
    key_of("one", "inference", concurrency=1),
)
WITH_KEYS = Server(keys=KEYS)


def bearer(name: str) -> str:
    return f"Authorization: Bearer {SECRETS[name]}"


def code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


async def ask(
    rig: Rig, path: str, *headers: str, method: str = "GET", body: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Return status, head and body of an answer on a connection of its own."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    wire = await rig.ask("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    head = await wire.head()
    return int(head.split()[1]), head, await wire.rest()


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
