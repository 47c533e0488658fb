"""Who may talk to us: no web page of a stranger, by whatever name it reaches a loopback port."""

import functools
import ipaddress
from urllib.parse import urlsplit

from proxyserver.wire import Fields

from .errors import ApiError


def check(method: bytes, known: Fields) -> None:
    """Refuse what a browser sends on behalf of a page that is not of this machine.

    There are no keys yet, and a loopback address keeps no browser out:

    * a name that its owner points to 127.0.0.1 (DNS rebinding) shows in `Host`.  Its port may be
      any: `ssh -L` and published ports change it, and a page cannot choose its own name.
    * a page of another site shows in `Sec-Fetch-Site` or `Origin`.  Reading is refused as well as
      writing, because a mere GET may start a service; only following a link is let through.

    Raises:
        ApiError: 403.
    """
    hosts = known.get(b"host", ())
    if len(hosts) > 1 or (hosts and not is_loopback(hosts[0].decode("latin-1"))):
        raise ApiError(
            403,
            "forbidden_host",
            f"the Host {b', '.join(hosts).decode('latin-1')[:128]!r} is no name of this machine's"
            " loopback; use http://localhost or http://127.0.0.1",
        )
    for origin in known.get(b"origin", ()):
        if not _is_loopback_origin(origin.decode("latin-1")):
            raise _forbidden(f"the Origin {origin.decode('latin-1')[:128]!r}")
    if b"sec-fetch-site" in known:
        followed = method in (b"GET", b"HEAD") and known.get(b"sec-fetch-mode") == [b"navigate"]
        if [*known[b"sec-fetch-site"]] == [b"cross-site"] and not followed:
            raise _forbidden("a page of another site")


@functools.lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Tell whether a `Host` (a name or an address, with or without a port) is this machine's own.

    >>> [is_loopback(host) for host in ("localhost:1", "[::1]:8787", "127.0.0.2", "evil.example")]
    [True, True, True, False]
    """
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if name is None or parts.netloc != host or parts.username is not None:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True  # RFC 6761, 6.3: resolvers answer these with loopback, whoever asks.
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_loopback_origin(origin: str) -> bool:
    scheme, separator, host = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and is_loopback(host)


def _forbidden(who: str) -> ApiError:
    return ApiError(
        403, "forbidden_origin", f"{who} may not use this server; send the request from a program"
    )
