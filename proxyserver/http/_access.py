"""Who asks, and whether they may: hosts, pages, keys, limits; the same for both lanes."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress

from proxyserver.access import INFERENCE, Allowance, Key, Keyring, Role, Shortage
from proxyserver.wire import RequestHead, body_of, scan_response, subprotocols

from ._exchange import Exchange
from ._ports import ServerSettings, Settings
from .errors import ApiError, again
from .hosts import HostRules

SUBPROTOCOL = b"openai-insecure-api-key."
"""How pages show a key with a WebSocket, for which browsers let them set no other header.

As in OpenAI's realtime API; what is so called there is so because the page knows the key.
"""
PREFLIGHT_S = 600
"""How long a browser may remember an answer; Chromium remembers none for longer than two hours."""
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Access:
    """Looks at the configuration in force, whose keys, hosts and origins may be replaced."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._allowances: dict[str, Allowance] = {}
        self._server = settings.server
        self._read(settings.server)

    def _read(self, server: ServerSettings) -> None:
        self._server = server
        self._keyring = Keyring(server.keys)
        self._hosts = HostRules(
            listens_beyond=server.listens_beyond, hosts=server.hosts, origins=server.cors
        )
        # What a key has used of its limits outlives a change of others.
        before, self._allowances = self._allowances, {}
        for key in server.keys:
            fresh = Allowance(key.requests_per_minute, key.concurrency)
            old = before.get(key.name)
            same = old is not None and (old.per_minute, old.at_once) == (
                fresh.per_minute,
                fresh.at_once,
            )
            self._allowances[key.name] = old if old is not None and same else fresh

    def check_page(self, exchange: Exchange) -> None:
        """Refuse what comes by a strange name or page; let those read the answer that may.

        Raises:
            ApiError: 403.
        """
        if self._server is not self._settings.server:
            self._read(self._settings.server)
        head = exchange.head
        origin = self._hosts.check(head.method, head.known)
        if origin is not None:
            exchange.origin = origin
            exchange.added = (
                (b"Access-Control-Allow-Origin", origin),
                (b"Access-Control-Expose-Headers", b"*"),
                (b"Vary", b"Origin"),
            )

    def require(self, exchange: Exchange, *roles: Role) -> None:
        """Let a request pass that shows a key with one of these roles, or if there are no keys.

        Raises:
            ApiError: 401, 403.
        """
        if not self._keyring:
            return
        key = exchange.key = self._key(exchange.head)
        if key.roles.isdisjoint(roles):
            raise ApiError(
                403,
                "wrong_role",
                f"the key {key.name!r} has no role `{roles[0]}`, which this needs; use another key,"
                " or add the role to its `roles` in the configuration",
            )

    def admit(self, exchange: Exchange) -> None:
        """Let a request for a service pass, within the limits of its key.

        Raises:
            ApiError: 401, 403, 429.
        """
        if not self._keyring:
            return
        self.require(exchange, INFERENCE)
        key = exchange.key
        assert key is not None
        if not key.is_limited:
            return
        allowance = self._allowances[key.name]
        shortage = allowance.take(exchange.arrived_at)
        exchange.added += allowance.headers()
        if shortage is not None:
            raise _rate_limited(key, shortage)
        exchange.allowance = allowance

    def _key(self, head: RequestHead) -> Key:
        shown = {*_shown(head)}
        if not shown:
            raise _unauthorized(head, "this server needs an API key")
        if len(shown) > 1:
            raise _unauthorized(head, "the request has more than one API key")
        key = self._keyring.find(shown.pop())
        if key is None:
            raise _unauthorized(head, "there is no such API key")
        return key


def is_preflight(exchange: Exchange) -> bool:
    """Tell whether a browser asks whether a page may ask; such a question has no key."""
    return (
        exchange.origin is not None
        and exchange.head.method == b"OPTIONS"
        and _field(exchange.head, b"access-control-request-method") is not None
    )


async def allow(exchange: Exchange) -> None:
    """Answer that the page may ask, whatever it likes: it needs a key as any program does."""
    exchange.added += (
        (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"Access-Control-Max-Age", b"%d" % PREFLIGHT_S),
    )
    fields = _field(exchange.head, b"access-control-request-headers")
    if fields is not None:
        exchange.added += ((b"Access-Control-Allow-Headers", fields),)
    head, body = scan_response(NO_CONTENT, b"OPTIONS"), body_of(0)
    assert head is not None
    exchange.begin(head, body)
    await exchange.pass_on(b"", 0, body.take(b"", 0, 0, None))
    await exchange.end()


def _field(head: RequestHead, name: bytes) -> bytes | None:
    return next((value for said, value in head.headers() if said.lower() == name), None)


def _shown(head: RequestHead) -> Iterator[bytes]:
    """Yield every key that a request shows, whether it is one of ours or not."""
    for value in head.known.get(b"authorization", ()):
        scheme, _, rest = value.partition(b" ")
        rest = rest.strip(b" \t")
        if scheme.lower() == b"basic":
            # Whoever asks for a name and a password; the name may be any.
            with suppress(binascii.Error):
                rest = base64.b64decode(rest, validate=True).partition(b":")[2]
        elif scheme.lower() != b"bearer":
            continue
        if rest:
            yield rest
    for name in (b"x-api-key", b"api-key"):
        yield from filter(None, head.known.get(name, ()))
    if head.wants_websocket:
        yield from subprotocols(head, SUBPROTOCOL)


def _unauthorized(head: RequestHead, why: str) -> ApiError:
    challenges = ['Bearer realm="aiproxy"']
    if head.known.get(b"sec-fetch-mode") == [b"navigate"]:
        # A person looks, who can be asked; a script of a page gets no window opened for it.
        challenges.append('Basic realm="aiproxy"')
    return ApiError(
        401,
        "invalid_api_key",
        f"{why}: send yours as `Authorization: Bearer KEY` or `x-api-key: KEY`"
        " (the command aiproxy: by --key-file or $AIPROXY_API_KEY)",
        headers=tuple(("www-authenticate", challenge) for challenge in challenges),
    )


def _rate_limited(key: Key, shortage: Shortage) -> ApiError:
    wait_s = 1.0 if shortage.retry_after_s is None else shortage.retry_after_s
    return ApiError(
        429,
        "rate_limited",
        f"the key {key.name!r} has reached its limit: {shortage.message}",
        headers=again(wait_s),
    )
