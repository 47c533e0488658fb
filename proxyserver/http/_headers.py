"""Which headers pass the proxy, in which direction, and what is added; pure."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

from .errors import ApiError

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = Sequence[Header]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",  # ASGI carries no trailers over HTTP/1.1, so they are dropped with their list.
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Meant for the next peer only (RFC 9110, 7.6.1)."""

_OURS = frozenset(
    {
        b"content-length",
        b"expect",  # The server has answered it with 100 when the body came.
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)
"""Written anew for the upstream; a client cannot have them dropped by naming them in Connection."""


_KEYS = frozenset({b"authorization", b"x-api-key", b"api-key"})


def values(headers: Iterable[Header], name: bytes) -> list[bytes]:
    """Return all values of a header; `name` in lower case."""
    return [value for found, value in headers if found.lower() == name]


def connection_options(headers: Iterable[Header]) -> frozenset[bytes]:
    """Return what the Connection headers name, in lower case."""
    options = b",".join(values(headers, b"connection")).split(b",")
    return frozenset(option.strip().lower() for option in options) - {b""}


def framing(headers: Headers) -> Header | None:
    """Return the header that frames the request's body; None: there is no body.

    Raises:
        ApiError: 400, there are two framings.  Proxies that chose differently here have been the
            door of request smuggling (RFC 9112, 6.1): there is no right choice.
    """
    lengths = values(headers, b"content-length")
    encodings = values(headers, b"transfer-encoding")
    if lengths and encodings:
        raise ApiError(
            400,
            "invalid_request",
            "the request has both Content-Length and Transfer-Encoding; send one of them",
            headers=(("connection", "close"),),
        )
    if encodings:
        return (b"Transfer-Encoding", b"chunked")  # h11 lets no other coding through.
    return (b"Content-Length", lengths[0]) if lengths else None


@attrs.frozen
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


def to_upstream(headers: Headers, hop: Hop, frame: Header | None) -> list[Header]:
    """Return the headers of the request that goes upstream, in the client's order and case."""
    dropped = HOP_BY_HOP | _OURS | connection_options(headers)
    if hop.authorization:
        dropped |= _KEYS
    sent = [(b"Host", hop.host)]
    sent += [(name, value) for name, value in headers if name.lower() not in dropped]
    if hop.authorization:
        sent.append((b"Authorization", hop.authorization))
    if frame is not None:
        sent.append(frame)
    # A proxy in front of us (on this machine: we listen on loopback only) knows better than we
    # which scheme and name the client used; the list of addresses grows at its end.
    clients = [*values(headers, b"x-forwarded-for"), hop.client]
    protos = values(headers, b"x-forwarded-proto") or [hop.scheme]
    hosts = values(headers, b"x-forwarded-host") or values(headers, b"host")
    prefix = b"".join(values(headers, b"x-forwarded-prefix")[:1]) + hop.prefix
    sent.append((b"X-Forwarded-For", b", ".join(clients)))
    sent.append((b"X-Forwarded-Proto", protos[0]))
    sent += [(b"X-Forwarded-Host", host) for host in hosts[:1]]
    sent += [(b"X-Forwarded-Prefix", prefix)] if prefix else []
    sent.append((b"X-Request-Id", hop.request_id))
    return sent


def to_client(headers: Headers) -> list[Header]:
    """Return the headers of the answer that goes to the client, in the upstream's order and case.

    Its `X-Request-Id` goes, because ours is the one that the client knows.
    """
    dropped = HOP_BY_HOP | {b"x-request-id"} | (connection_options(headers) - {b"content-length"})
    if values(headers, b"transfer-encoding"):
        dropped |= {b"content-length"}  # The body was framed by chunks, whatever this one says.
    return [(name, value) for name, value in headers if name.lower() not in dropped]
