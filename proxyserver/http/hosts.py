"""Which names this server answers to, and which pages may use it: no web page of a stranger."""

import functools
import ipaddress
from urllib.parse import urlsplit

from proxyserver.wire import Fields

from .errors import ApiError

ANY = "*"
"""As a host: whatever it is called."""


class HostRules:
    """The rules of one configuration.

    Neither a loopback address nor a key keeps a browser out: the one is reached by any page that
    runs on this machine, the other is sent along by itself once a person has typed it in (Basic).

    * A name that its owner points to 127.0.0.1 (DNS rebinding) shows in `Host`.  Its port may be
      any: `ssh -L` and published ports change it, and a page cannot choose its own name.  An
      address cannot be rebound, so any will do where we listen beyond loopback.
    * A page of another site shows in `Sec-Fetch-Site` or `Origin`.  Reading is refused as well as
      writing, because a mere GET may start a service; only following a link is let through.

    Args:
        listens_beyond: whether other machines can reach us.
        hosts: further names of ours; `*.example.org` is all below, `*` is any.
        origins: pages of other sites that may use us.
    """

    def __init__(
        self,
        *,
        listens_beyond: bool = False,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
    ) -> None:
        self._listens_beyond = listens_beyond
        self._names = frozenset(host for host in hosts if not host.startswith("*"))
        self._endings = tuple(host[1:] for host in hosts if host.startswith("*."))
        self._any = ANY in hosts
        self._origins = frozenset(origin.encode() for origin in origins)
        self.is_ours = functools.lru_cache(maxsize=256)(self._is_ours)

    def check(self, method: bytes, known: Fields) -> bytes | None:
        """Refuse what a browser sends on behalf of a page that may not use us.

        Returns:
            The origin, if it is of another site and listed: its page may read the answer.

        Raises:
            ApiError: 403.
        """
        hosts = known.get(b"host", ())
        if len(hosts) > 1 or (hosts and not self.is_ours(hosts[0])):
            raise ApiError(
                403,
                "forbidden_host",
                f"the Host {_shown(b', '.join(hosts))} is no name of this server; use"
                " http://localhost or http://127.0.0.1, or add the name to `server.hosts`",
            )
        origins = known.get(b"origin", ())
        if len(origins) == 1 and origins[0] in self._origins:
            return origins[0]
        for origin in origins:
            if not _is_own_origin(origin, hosts[0] if hosts else b""):
                raise _forbidden(f"the Origin {_shown(origin)}")
        if b"sec-fetch-site" in known:
            followed = method in (b"GET", b"HEAD") and known.get(b"sec-fetch-mode") == [b"navigate"]
            if [*known[b"sec-fetch-site"]] == [b"cross-site"] and not followed:
                raise _forbidden("a page of another site")
        return None

    def _is_ours(self, host: bytes) -> bool:
        """Tell whether a `Host` (a name or an address, with or without a port) is one of ours."""
        if is_loopback(host):
            return True
        name = _name(host)
        if name is None:
            return False
        if self._any or name in self._names or name.endswith(self._endings):
            return True
        return self._listens_beyond and _address(name) is not None


@functools.lru_cache(maxsize=256)
def is_loopback(host: bytes) -> bool:
    """Tell whether a `Host` is this machine's own.

    >>> [is_loopback(host) for host in (b"localhost:1", b"[::1]:87", b"127.0.0.2", b"evil.example")]
    [True, True, True, False]
    """
    name = _name(host)
    if name is None:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True  # RFC 6761, 6.3: resolvers answer these with loopback, whoever asks.
    address = _address(name)
    return address is not None and address.is_loopback


def _name(host: bytes) -> str | None:
    """Return the name or address, in lower case and without the port; None: there is none."""
    text = host.decode("latin-1")
    try:
        parts = urlsplit(f"//{text}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.netloc != text or parts.username is not None:
        return None
    return name


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_own_origin(origin: bytes, host: bytes) -> bool:
    """Tell whether a page is ours, or another one of this machine where that is all that asks."""
    scheme, separator, owner = origin.partition(b"://")
    if not separator or scheme not in (b"http", b"https"):
        return False
    if owner.lower() == host.lower():
        return True
    return is_loopback(owner) and (not host or is_loopback(host))


def _shown(text: bytes) -> str:
    return repr(text.decode("latin-1")[:128])


def _forbidden(who: str) -> ApiError:
    return ApiError(
        403,
        "forbidden_origin",
        f"{who} may not use this server; send the request from a program, or let the page by"
        " `server.cors`",
    )
