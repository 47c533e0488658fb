"""Who may use the proxy, as the configuration has it: keys, and whether one is needed."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from proxycore import ServiceId
from proxyserver.access import ADMIN, Key, digest_of, hashed, is_loopback, weakness

from ._errors import Problem, Problems, Steps, near
from ._model import KeyEntry, ServerEntry
from ._settings import NEEDS_KEYS
from ._sources import Sources

_FILE_MAX = 4096
_HOW = ("hash", "key", "key_file")


def keys_of(entry: ServerEntry, found: Problems, sources: Sources) -> tuple[Key, ...]:
    """Return the keys that are as they should be; what is wrong with others is in `found`."""
    keys: dict[bytes, Key] = {}
    for name, written in (entry.keys or {}).items():
        at: Steps = ("server", "keys", name)
        if written.key_file is not None:
            sources.note(Path(written.key_file))
        digest = _digest(written, at, found)
        if digest is None:
            continue
        if digest in keys:
            found.add(at, f"is the same key as {keys[digest].name!r}", at_key=True)
            continue
        if not written.roles:
            found.add(
                (*at, "roles"), "a key without roles is for nothing: inference, admin, metrics"
            )
        keys[digest] = Key(
            name,
            digest,
            frozenset(written.roles),
            written.services,
            written.requests_per_minute,
            written.concurrency,
        )
    return tuple(keys.values())


def check_reach(entry: ServerEntry, written: Any, found: Problems) -> None:
    """Complain about what lets others in without a key."""
    if isinstance(written, dict) and "keys" in written:
        if not written["keys"]:
            # Whoever writes `keys:` means to be asked for one.
            found.add(("server", "keys"), "has no key in it: add one, or leave it out", at_key=True)
        return
    if not is_loopback(entry.host) and not entry.allow_without_keys:
        found.add(("server", "host"), f"{entry.host}: {NEEDS_KEYS}")
    host = entry.tls and entry.tls.host
    if host and not is_loopback(host) and not entry.allow_without_keys:
        found.add(("server", "tls", "host"), f"{host}: {NEEDS_KEYS}")
    if "*" in entry.hosts:
        at: Steps = ("server", "hosts", entry.hosts.index("*"))
        found.add(at, "without keys, any name would let in any web page: name the hosts")


def remarks_on(
    server: ServerEntry, keys: tuple[Key, ...], services: Collection[ServiceId], found: Problems
) -> list[Problem]:
    """Return what is good enough, and perhaps not meant."""
    told = []
    is_plain = server.tls is None or server.tls.port is not None
    if keys and is_plain and not is_loopback(server.host):
        said = "keys and all else travel in the clear there; see `server.tls`"
        told.append(found.marks.problem(("server", "host"), f"{server.host}: {said}"))
    patterns: dict[Steps, Sequence[str]] = {
        ("server", "keys", key.name, "services"): key.services for key in keys
    }
    patterns["server", "log", "services"] = server.log.services
    for at, written in patterns.items():
        for index, pattern in enumerate(written):
            # Models of folders come and go, so that a name of none is no mistake for ever.
            if not any(fnmatchcase(service, pattern) for service in services):
                said = f"{pattern!r} is no service as of now{near(pattern, services)}"
                told.append(found.marks.problem((*at, index), said))
    if keys and not any(ADMIN in key.roles for key in keys):
        said = "none has the role `admin`: `aiproxy status`, `stop` and so on are for nobody"
        told.append(found.marks.problem(("server", "keys"), said, at_key=True))
    return told


def _digest(entry: KeyEntry, at: Steps, found: Problems) -> bytes | None:
    """Return the digest of a key; None: something is wrong."""
    given = [how for how in _HOW if getattr(entry, how) is not None]
    if len(given) != 1:
        said = f"needs one of {', '.join(_HOW)}, not {' and '.join(given) or 'none'}"
        found.add(at, said, at_key=True)
        return None
    (how,) = given
    if entry.hash is not None:
        return digest_of(entry.hash)
    key = entry.key if entry.key_file is None else _read(Path(entry.key_file), at, found)
    if key is None:
        return None
    if (what := weakness(key)) is not None:
        found.add((*at, how), f"{what}; `aiproxy keys new NAME` makes a good one")
        return None
    return digest_of(hashed(key))


def _read(path: Path, at: Steps, found: Problems) -> str | None:
    """Return what a file has in its only line."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX)
    except OSError as error:
        found.add((*at, "key_file"), f"{path}: {error.strerror}")
        return None
    # As latin-1, so that whatever it is shows as no key.
    return content.decode("latin-1").strip()
