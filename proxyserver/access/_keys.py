"""Keys: how they are made, kept as hashes, and found again by what a client shows.

They are hashed by plain SHA-256, once and without a salt.  Slow, salted hashes are for passwords,
which people think of and others guess: each guess shall cost.  A key is random: of 2^128 and more,
no hash is fast enough to try a part that matters, and no table made beforehand holds any.  What a
slow hash would cost instead is each request, and a salt would cost one hash a key.  So what is
weak is refused, as far as it can be seen, and `aiproxy keys new` makes strong ones.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from hashlib import sha256
from typing import Literal, TypeAlias

import attrs

from proxycore import ServiceId

Role: TypeAlias = Literal["inference", "admin", "metrics"]
INFERENCE: Role = "inference"
"""May ask services."""
ADMIN: Role = "admin"
"""May ask and tell the proxy itself: look at all that is, start, stop, pull, read logs."""
METRICS: Role = "metrics"
"""May read the numbers, for Prometheus, which need not be able to stop anything."""

PREFIX = "sk-aiproxy-"
"""Some clients take nothing for a key that does not begin so, and a leaked one is recognised."""
KEY_MIN = 22
"""As many as 128 bits need, written in base 64."""
KEY_MAX = 256
DISTINCT_MIN = 8
"""Random text of the least length has far more; `aaaa...` and dates have fewer."""
_KEY = re.compile(r"[!-~]+")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_START = 8


@attrs.frozen
class Key:
    """One key, as the configuration has it; not the key itself, which nobody keeps."""

    name: str
    digest: bytes = attrs.field(repr=False)
    roles: frozenset[Role] = frozenset({INFERENCE})
    services: tuple[str, ...] = ("*",)
    """Ids, or patterns of them."""
    requests_per_minute: int | None = None
    concurrency: int | None = None
    """How many requests at once."""

    @property
    def is_limited(self) -> bool:
        return self.requests_per_minute is not None or self.concurrency is not None

    @property
    def opens_all(self) -> bool:
        return self.services == ("*",)

    def may_use(self, service: ServiceId) -> bool:
        """Tell whether a service is for this key; a server's models are, where the server is."""
        return self.opens_all or _matches(self.services, service)


@lru_cache(maxsize=4096)
def _matches(patterns: tuple[str, ...], service: str) -> bool:
    host, slash, _ = service.partition("/")
    names = (service, host) if slash else (service,)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


class Keyring:
    """Finds a key by what a client shows, as fast however many there are."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_start = {key.digest[:_START]: key for key in keys}

    def __bool__(self) -> bool:
        return bool(self._by_start)

    def find(self, shown: bytes) -> Key | None:
        """Return the key that this is; None: nobody's.

        How long it takes tells nothing: what is compared are hashes, whose bytes nobody can choose,
        and the comparison takes the same time wherever they differ.
        """
        digest = sha256(shown).digest()
        key = self._by_start.get(digest[:_START])
        if key is None or not hmac.compare_digest(key.digest, digest):
            return None
        return key


def new_key() -> str:
    """Return a new key, of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return what the configuration may have in place of a key."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def digest_of(hashed: str) -> bytes | None:
    """Return the digest that is written so; None: it is none."""
    found = _HASH.fullmatch(hashed)
    return None if found is None else bytes.fromhex(found[1])


def weakness(key: str) -> str | None:
    """Return what makes a key too easy to guess, or impossible to send; None: nothing."""
    if not _KEY.fullmatch(key) or len(key) > KEY_MAX:
        return f"is no key: up to {KEY_MAX} visible characters of ASCII, no spaces"
    if len(key) < KEY_MIN:
        return f"is too short to be safe: it has {len(key)} characters, of at least {KEY_MIN}"
    if len(set(key)) < DISTINCT_MIN:
        return f"is too simple to be safe: it has {len(set(key))} different characters"
    return None
