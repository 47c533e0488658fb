"""Scans the head of a request or an answer, strictly: what could be read in two ways is refused.

Theory of operation.  One regular expression accepts a whole head or nothing; it leaves no room for
what servers disagree about (RFC 9112, 11.2): bare newlines, folded lines, blanks before a colon,
control characters.  A second one finds the few fields that mean something to a proxy.  All other
lines are never taken apart: they go on as the bytes that they are.  On the framing there is one
opinion or an error: never two lengths, never a length and chunks, never a coding but `chunked`.

h11 is the oracle of the tests: what passes here, h11 reads in the same way.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from ._errors import BadWire

HEAD_MAX = 64 * 1024
"""nginx allows 4 or 8 KiB, node 16, Apache 8 a line."""
LENGTH_DIGITS_MAX = 18
"""So that the length fits into 63 bits, which is what servers in C have for it."""
REMEMBERED_MAX = 2 * 1024
"""Longer heads of answers are read anew each time."""
CHUNKED = -1
"""As the length of a body: it says itself where it ends."""
UNTIL_CLOSE = -2
"""As the length of a body: the end of the connection is its end."""

Header: TypeAlias = tuple[bytes, bytes]
Fields: TypeAlias = Mapping[bytes, Sequence[bytes]]
"""The values of fields, by names in lower case."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELDS = rb"(?:" + TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+"
_REQUEST = re.compile(rb"(%s) ([!\"$-~]++) HTTP/(1\.[01])\r(\n%s)\r\n" % (TOKEN, FIELDS))
_RESPONSE = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t \x21-\x7e\x80-\xff]*+))?\r(\n%s)\r\n" % FIELDS
)
LINE = re.compile(rb"\n([^:\r\n]+):[ \t]*([^\r]*)\r")
_KNOWN = re.compile(
    rb"(?i:\n(host|connection|content-(?:length|type|encoding)|transfer-encoding|expect|upgrade|te"
    rb"|trailer|keep-alive|proxy-(?:authenticate|authorization|connection)|http2-settings"
    rb"|x-request-id|forwarded|x-forwarded-(?:for|host|prefix|proto)|authorization|x-api-key"
    rb"|api-key|traceparent|origin|date|sec-fetch-(?:mode|site))):[ \t]*([^\r]*)"
)
_URL = re.compile(rb"https?://", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,%d}" % LENGTH_DIGITS_MAX)
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\0")
_FOLDED = re.compile(rb"\r\n[ \t]")
_BLANK_BEFORE_COLON = re.compile(rb"\r\n[^:\r]*[ \t]:")


@attrs.define(eq=False)
class Head:
    """What both kinds of heads have."""

    raw: bytes
    """A newline, and all lines of fields as they came, each with its end."""
    known: dict[bytes, list[bytes]]
    """The values of those fields that mean something to a proxy."""
    size: int
    """How many bytes the head took."""

    def headers(self) -> list[Header]:
        """Return all fields, names in their case."""
        return [(name, value.rstrip(b" \t")) for name, value in LINE.findall(self.raw)]

    def listed(self, name: bytes) -> frozenset[bytes]:
        """Return the members of a known field that is a list, in lower case."""
        values = self.known.get(name)
        if values is None:
            return frozenset()
        members = b",".join(values).lower().split(b",")
        return frozenset(member.strip(b" \t") for member in members) - {b""}


@attrs.define(eq=False)
class RequestHead(Head):
    method: bytes
    target: bytes
    version: bytes
    """`1.1`, say."""
    length: int
    """Of the body: 0 if there is none, or `CHUNKED`."""

    @property
    def wants_websocket(self) -> bool:
        return (
            b"upgrade" in self.known
            and self.method == b"GET"
            and b"websocket" in self.listed(b"upgrade")
            and b"upgrade" in self.listed(b"connection")
        )

    @property
    def expects(self) -> bool:
        """Whether the client waits for a word before it sends its body."""
        return b"expect" in self.known and b"100-continue" in self.listed(b"expect")

    @property
    def closes(self) -> bool:
        """Whether this is the last request of its connection."""
        return b"connection" in self.known and b"close" in self.listed(b"connection")


@attrs.define(eq=False)
class ResponseHead(Head):
    status: int
    reason: bytes
    length: int
    """Of the body: 0 if there is none, or `CHUNKED`, or `UNTIL_CLOSE`."""
    keeps: bool
    """Whether the connection can carry another request once the body has been read."""
    rewritten: bytes | None = attrs.field(default=None, init=False)
    """What `to_client` has made of it: the same head may come again and again."""


def scan_request(data: bytes) -> RequestHead | None:
    r"""Return the head of the request that the data begin with; None: its end is still to come.

    Raises:
        BadWire: this is no such head, or one that servers read in different ways.

    >>> scan_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").length
    5
    """
    end = _end(data)
    if end is None:
        return None
    found = _matched(_REQUEST, data, end)
    method, target, version, raw = found.groups()
    known = _find_known(raw)
    if method == b"CONNECT":
        raise BadWire("a request for a tunnel, which there are none of here")
    if target[0] != 0x2F and not (_URL.match(target) or (target, method) == (b"*", b"OPTIONS")):
        raise BadWire("a target that is neither a path nor a URL")
    hosts = known.get(b"host", ())
    if len(hosts) != 1 and (hosts or version == b"1.1"):
        raise BadWire("more than one Host" if hosts else "no Host")
    length = _framing(known)
    if length == CHUNKED and version != b"1.1":
        raise BadWire("Transfer-Encoding with a version of HTTP that does not know it")
    return RequestHead(raw, known, end, method, target, version, length or 0)


def scan_response(data: bytes, method: bytes) -> ResponseHead | None:
    """Return the head of the answer that the data begin with; None: its end is still to come.

    Args:
        data: What came so far.
        method: Of the request: an answer to HEAD has no body, whatever its head says.

    Raises:
        BadWire: this is no HTTP/1.1, or it frames its body in two ways.
    """
    end = _end(data)
    if end is None:
        return None
    read = _read_response if end > REMEMBERED_MAX else _remembered
    return read(data[:end], without_body=method == b"HEAD")


def _read_response(whole: bytes, *, without_body: bool) -> ResponseHead:
    found = _matched(_RESPONSE, whole, len(whole))
    minor, code, reason, raw = found.groups()
    known = _find_known(raw)
    status = int(code)
    both = b"content-length" in known and b"transfer-encoding" in known
    if both:
        # RFC 9112, 6.3: the chunks count, and the connection is not to be trusted further.
        _framing({b"content-length": known.pop(b"content-length")})
    length = _framing(known)
    if length == CHUNKED and minor == b"0":
        raise BadWire("Transfer-Encoding with a version of HTTP that does not know it")
    if length is None:
        length = UNTIL_CLOSE
    if status < 200 or status in (204, 304) or without_body:
        length = 0
    keeps = minor == b"1" and length != UNTIL_CLOSE and not both
    head = ResponseHead(raw, known, len(whole), status, reason or b"", length, keeps)
    if keeps and b"connection" in known and b"close" in head.listed(b"connection"):
        head.keeps = False
    return head


_remembered = functools.lru_cache(maxsize=64)(_read_response)
"""A server's streams begin with the same bytes, in some all its answers of one second do."""


def _end(data: bytes) -> int | None:
    """Return how long the head is that the data begin with; None: its end is still to come."""
    end = data.find(b"\r\n\r\n", 0, HEAD_MAX) + 4
    if end == 3:
        if len(data) >= HEAD_MAX:
            raise BadWire(f"a head larger than {HEAD_MAX // 1024} KiB", 431)
        # What can only get worse is not waited for: a client that ends its lines with a bare
        # newline believes that it has said all.
        if _BARE.search(data) or (data and data[0] <= 0x20):
            raise BadWire(_what_is_wrong(data))
        return None
    return end


def _matched(pattern: re.Pattern[bytes], data: bytes, end: int) -> re.Match[bytes]:
    found = pattern.match(data, 0, end)
    if found is None or found.end() != end:
        raise BadWire(_what_is_wrong(data[:end]))
    return found


def _find_known(raw: bytes) -> dict[bytes, list[bytes]]:
    known: dict[bytes, list[bytes]] = {}
    for name, value in _KNOWN.findall(raw):
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in known:
            known[name].append(value)
        else:
            known[name] = [value]
    return known


def _framing(known: Fields) -> int | None:
    """Return the length that the fields promise; None: they promise none."""
    lengths = known.get(b"content-length")
    codings = known.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            # Proxies that chose have been the door of request smuggling: there is no right choice.
            raise BadWire("both Content-Length and Transfer-Encoding")
        if len(codings) != 1:
            raise BadWire("more than one Transfer-Encoding")
        if codings[0].lower() != b"chunked":
            raise BadWire("a Transfer-Encoding other than `chunked`", 501)
        return CHUNKED
    if lengths is None:
        return None
    if len(lengths) != 1:
        raise BadWire("more than one Content-Length")
    if not _DIGITS.fullmatch(lengths[0]):
        raise BadWire("a Content-Length that is no number, or too large a one")
    return int(lengths[0])


def _what_is_wrong(head: bytes) -> str:
    """Return in words why a head was not accepted, as far as that is easy to say."""
    if _BARE.search(head):
        return "a bare newline, a bare carriage return, or a NUL in its head"
    if _FOLDED.search(head):
        return "a header that goes on in the next line"
    if _BLANK_BEFORE_COLON.search(head):
        return "a header with a blank before its colon"
    return "no valid HTTP/1.1"
