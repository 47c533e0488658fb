"""Makes of a head that came the head that goes on: what concerns one hop stays here."""

import re
from collections.abc import Sequence

import attrs

from ._head import (
    CHUNKED,
    LINE,
    UNTIL_CLOSE,
    Fields,
    Head,
    Header,
    RequestHead,
    ResponseHead,
)

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Meant for the next peer only (RFC 9110, 7.6.1)."""

OURS = frozenset(
    {
        b"content-length",
        b"expect",  # Answered with 100 here, once somebody wants the body.
        b"forwarded",
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)
"""Written anew for the upstream; a client cannot have them dropped by naming them in Connection."""

KEYS = frozenset({b"authorization", b"x-api-key", b"api-key"})


class _Dropped:
    """Fields that do not go on."""

    def __init__(self, names: frozenset[bytes]) -> None:
        self.names = names
        self.lines = re.compile(rb"(?i:\n(?:%s)):[^\r]*\r" % b"|".join(sorted(names)))


_DROPPED = {
    (keys, traced): _Dropped(
        HOP_BY_HOP | OURS | (KEYS if keys else set()) | ({b"traceparent"} if traced else set())
    )
    for keys in (False, True)
    for traced in (False, True)
}
"""By whether the keys that we were shown stay here, and whether it is part of our trace."""
_DROPPED_OF_ANSWER = _Dropped(HOP_BY_HOP | {b"x-request-id"})
_DROPPED_WITH_LENGTH = _Dropped(HOP_BY_HOP | {b"x-request-id", b"content-length"})
_LENGTH = frozenset({b"content-length"})
_COMMON_OPTIONS = frozenset({b"keep-alive", b"close", b"te", b"upgrade", b"http2-settings"})
"""What `Connection` names nearly always: these are dropped anyhow."""


@attrs.define(eq=False)
class Hop:
    """What the upstream shall know of how a request came to it."""

    host: bytes
    """The upstream's own name, for `Host`."""
    client: bytes
    """The address of the peer."""
    scheme: bytes
    prefix: bytes
    """What was cut off the path, for servers that write links."""
    request_id: bytes
    authorization: bytes = b""
    """What the upstream wants to see; then what the client showed to us is not for it."""
    drops_keys: bool = False
    """What the client showed to us was for us."""
    added: bytes = b""
    """Further lines."""
    traceparent: bytes = b""
    """Our place in the trace; without one, the client's goes on."""
    forwarded: bool = False
    """Whether `Forwarded` is begun where nobody before us has."""
    via: bytes = b""
    """What `Via` says of us: the version that the client spoke, and a name; nothing: no `Via`."""


def to_upstream(
    head: RequestHead,
    hop: Hop,
    target: bytes,
    *,
    length: int | None = None,
    websocket: bool = False,
) -> bytes:
    """Return the head of the request that goes upstream; its fields keep their order and case.

    Args:
        head: What the client sent.
        hop: What we add.
        target: What to ask for.
        length: Of the body, where it is not to be framed as it came.
        websocket: Whether the connection shall become one.
    """
    known: Fields = head.known
    if length is None:
        length = head.length
        framed = length == CHUNKED or b"content-length" in known
    else:
        framed = True
    parts = [head.method, b" ", target, b" HTTP/1.1\r\nHost: ", hop.host, b"\r\n"]
    drops_keys = hop.drops_keys or hop.authorization
    parts.append(_kept(head, _DROPPED[bool(drops_keys), bool(hop.traceparent)], OURS))
    if hop.added:
        parts.append(hop.added)
    if hop.traceparent:
        parts += (b"traceparent: ", hop.traceparent, b"\r\n")
    if hop.authorization:
        parts += (b"Authorization: ", hop.authorization, b"\r\n")
    if websocket:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    if framed:
        parts.append(
            b"Transfer-Encoding: chunked\r\n"
            if length == CHUNKED
            else b"Content-Length: %d\r\n" % length
        )
    # A proxy in front of us knows better than we which scheme and name the client used; the list
    # of addresses grows at its end.  Anybody can say so: nothing of ours goes by it.
    clients, proto = hop.client, hop.scheme
    if b"x-forwarded-for" in known:
        clients = b", ".join((*known[b"x-forwarded-for"], clients))
    if b"x-forwarded-proto" in known:
        proto = known[b"x-forwarded-proto"][0]
    parts += (b"X-Forwarded-For: ", clients, b"\r\nX-Forwarded-Proto: ", proto, b"\r\n")
    for host in (known.get(b"x-forwarded-host") or known.get(b"host", ()))[:1]:
        parts += (b"X-Forwarded-Host: ", host, b"\r\n")
    prefix = hop.prefix
    if b"x-forwarded-prefix" in known:
        prefix = known[b"x-forwarded-prefix"][0] + prefix
    if prefix:
        parts += (b"X-Forwarded-Prefix: ", prefix, b"\r\n")
    if hop.via:
        parts += (b"Via: ", hop.via, b"\r\n")
    if b"forwarded" in known or hop.forwarded:
        # Who believes this one would believe an old story if we did not go on with it.
        hops = b", ".join((*known.get(b"forwarded", ()), _element(hop, known.get(b"host", ()))))
        parts += (b"Forwarded: ", hops, b"\r\n")
    parts += (b"X-Request-Id: ", hop.request_id, b"\r\n\r\n")
    return b"".join(parts)


def to_client(head: ResponseHead, added: bytes, *, websocket: bool = False) -> bytes:
    """Return the head of the answer that goes to a client of HTTP/1.1, framed as it came.

    What has no framing but the end of the connection is to be sent in chunks.
    The upstream's `X-Request-Id` goes, because ours is the one that the client knows.

    Args:
        head: What the upstream sent.
        added: Lines of fields that are ours.
        websocket: Whether the connection becomes one.
    """
    if head.rewritten is None:
        head.rewritten = _rewritten(head)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if websocket else b""
    return b"%s%s%s\r\n" % (head.rewritten, upgrade, added)


def _rewritten(head: ResponseHead) -> bytes:
    parts = [b"HTTP/1.1 %d " % head.status, head.reason, b"\r\n", _kept_of_answer(head)]
    if head.length == CHUNKED:
        for value in head.known.get(b"trailer", ()):
            parts += (b"Trailer: ", value, b"\r\n")
    if head.length in (CHUNKED, UNTIL_CLOSE):
        parts.append(b"Transfer-Encoding: chunked\r\n")
    return b"".join(parts)


def headers_to_client(head: ResponseHead) -> list[Header]:
    """Return the fields of the answer that go to a client whose body somebody else frames."""
    return attrs.evolve(head, raw=b"\n" + _kept_of_answer(head)).headers()


def without_cors(head: ResponseHead) -> ResponseHead:
    """Return the head without what it says to browsers of pages of other sites."""
    return attrs.evolve(head, raw=_CORS.sub(b"", head.raw))


def without_fields(head: RequestHead, names: frozenset[bytes]) -> RequestHead:
    """Return the head without the fields of these names, in lower case."""

    def kept(line: re.Match[bytes]) -> bytes:
        return b"" if line[1].lower() in names else line[0]

    # A field ends with its carriage return here, and the next one begins with its newline.
    return attrs.evolve(head, raw=LINE.sub(kept, head.raw))


_CORS = re.compile(rb"(?i:\naccess-control-[^:\r]*):[^\r]*\r")


def subprotocols(head: RequestHead, prefix: bytes) -> list[bytes]:
    """Return the rest of those protocols over WebSockets that begin so."""
    members = (
        one.strip(b" \t") for _, value in _PROTOCOLS.findall(head.raw) for one in value.split(b",")
    )
    return [one.removeprefix(prefix) for one in members if one.startswith(prefix)]


def without_subprotocols(head: RequestHead, prefix: bytes) -> RequestHead:
    """Return the head without those protocols over WebSockets that begin so."""

    def kept(line: re.Match[bytes]) -> bytes:
        members = [one.strip(b" \t") for one in line[2].split(b",")]
        left = b", ".join(one for one in members if not one.startswith(prefix))
        return b"\n%s: %s\r" % (line[1], left) if left else b""

    return attrs.evolve(head, raw=_PROTOCOLS.sub(kept, head.raw))


_PROTOCOLS = re.compile(rb"\n((?i:sec-websocket-protocol)):([^\r]*)\r")


def _kept_of_answer(head: ResponseHead) -> bytes:
    # What is framed by chunks is so, whatever its length says.
    chunked = head.length < 0 or head.status in (101, 204)
    return _kept(head, _DROPPED_WITH_LENGTH if chunked else _DROPPED_OF_ANSWER, _LENGTH)


def _kept(head: Head, dropped: _Dropped, unlistable: frozenset[bytes]) -> bytes:
    """Return the lines that go on."""
    if b"connection" in head.known:
        listed = head.listed(b"connection") - unlistable
        if not listed <= _COMMON_OPTIONS:
            names = dropped.names | listed
            return LINE.sub(lambda line: b"" if line[1].lower() in names else line[0], head.raw)[1:]
    return dropped.lines.sub(b"", head.raw)[1:]


def _element(hop: Hop, hosts: Sequence[bytes]) -> bytes:
    """Return our part of `Forwarded` (RFC 7239)."""
    client = b'"[%s]"' % hop.client if b":" in hop.client else hop.client
    host = b"".join(b';host="%s"' % host for host in hosts if not _QUOTING & {*host})
    return b"for=%s;proto=%s%s" % (client, hop.scheme, host)


_QUOTING = frozenset(b'"\\')
