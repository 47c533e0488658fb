"""Requests that no server may take: each with the answers that refuse it.

What two servers could read in two ways is here, besides plain nonsense: where a proxy reads one
request and its upstream two, the second was smuggled in (RFC 9112, 11.2).
"""

from collections.abc import Iterator

import attrs

BAD = frozenset({400})
LARGE = frozenset({431})
LARGE_TARGET = frozenset({414, 431})
UNKNOWN_CODING = frozenset({400, 501})
"""An encoding that is not implemented is a 501 (RFC 9112, 6.1), one that is none a 400."""
UNKNOWN_VERSION = frozenset({400, 505})

PATHS = (b"/service/coder/x", b"/v1/chat/completions")
"""One that streams bodies, one that holds them."""
BODY = b'{"model": "coder"}'
LENGTH = b"Content-Length: %d" % len(BODY)


@attrs.frozen
class Malformed:
    """One request, written out."""

    name: str
    data: bytes
    statuses: frozenset[int] = BAD


def _post(*lines: bytes, path: bytes = b"/service/coder/x", body: bytes = BODY) -> bytes:
    """Return a request with these lines after a good start."""
    start = (b"POST %s HTTP/1.1" % path, b"Host: localhost")
    return b"\r\n".join((*start, *lines)) + b"\r\n\r\n" + body


def _start(line: bytes) -> bytes:
    return line + b"\r\nHost: localhost\r\n\r\n"


def _framings() -> Iterator[Malformed]:
    chunked = b"Transfer-Encoding: chunked"
    both = b"0\r\n\r\n"
    yield Malformed("length and coding", _post(b"Content-Length: 5", chunked, body=both))
    yield Malformed("coding and length", _post(chunked, b"Content-Length: 5", body=both))
    yield Malformed("no length and coding", _post(b"Content-Length: 0", chunked, body=both))
    yield Malformed("two lengths", _post(LENGTH, b"Content-Length: 0"))
    yield Malformed("two equal lengths", _post(LENGTH, LENGTH))
    yield Malformed("a list of lengths", _post(b"Content-Length: 18, 0"))
    yield Malformed("a list of equal lengths", _post(b"Content-Length: 18, 18"))
    for value in (
        b"-1", b"+18", b"0x12", b"1e1", b"18.0", b"18 18", b"18;", b"", b"\xb2", b"1_8", b"\x0b18",
        b"9" * 21, b"18446744073709551634", b"9" * 5000,
    ):  # fmt: skip
        name = value if len(value) < 30 else value[:3] + b"... of %d digits" % len(value)
        yield Malformed(f"length {name!r}", _post(b"Content-Length: " + value))
    for value in (
        b"gzip", b"identity", b"xchunked", b"chunked, gzip", b"gzip, chunked", b"chunked, chunked",
        b"chunked;q=1", b"\x0bchunked", b"chunked\x0b", b"chun ked", b"", b",chunked;",
    ):  # fmt: skip
        yield Malformed(
            f"coding {value!r}",
            _post(b"Transfer-Encoding: " + value, body=both),
            UNKNOWN_CODING,
        )
    yield Malformed("two codings", _post(chunked, chunked, body=both), UNKNOWN_CODING)
    yield Malformed(
        "coding of HTTP/1.0",
        _post(chunked, body=both).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    )


def _lines() -> Iterator[Malformed]:
    for name, line in {
        "folded by a space": b"X-A: 1\r\n 2",
        "folded by a tab": b"X-A: 1\r\n\tTransfer-Encoding: chunked",
        "folded at once": b" X-A: 1",
        "ended by a bare LF": b"X-A: 1\nX-B: 2",
        "a bare LF hides a length": b"X-A: 1\nContent-Length: 0",
        "a bare CR": b"X-A: 1\rX-B: 2",
        "two CR": b"X-A: 1\r\r\nX-B: 2",
        "NUL in a value": b"X-A: 1\x002",
        "NUL in a name": b"X-\x00A: 1",
        "a control character in a value": b"X-A: 1\x01",
        "DEL in a value": b"X-A: 1\x7f",
        "a space before the colon": b"X-A : 1",
        "a tab before the colon": b"X-A\t: 1",
        "a length with a space before the colon": b"Content-Length : 0",
        "a coding with a space before the colon": b"Transfer-Encoding : chunked",
        "a space in a name": b"X A: 1",
        "no name": b": 1",
        "no colon": b"X-A",
        "a name of other letters": b"X-\xc3\xa9: 1",
        "a separator in a name": b"X(A): 1",
        "a control character in a name": b"X-\x0bA: 1",
    }.items():
        yield Malformed(name, _post(line, LENGTH))
    lf_only = _post(LENGTH).replace(b"\r\n", b"\n")
    yield Malformed("bare LF everywhere", lf_only)
    yield Malformed("a bare LF after the start", _post(LENGTH).replace(b"\r\n", b"\n", 1))
    yield Malformed("a bare LF ends the head", _post(LENGTH + b"\r\n\nGET / HTTP/1.1"))


def _starts() -> Iterator[Malformed]:
    for line in (
        b"GET /service/coder/x", b"GET", b"", b" GET /service/coder/x HTTP/1.1",
        b"GET  /service/coder/x HTTP/1.1", b"GET /service/coder/x  HTTP/1.1",
        b"GET /service/coder/x HTTP/1.1 ", b"GET\t/service/coder/x\tHTTP/1.1",
        b"GET /service/coder/x y HTTP/1.1", b"GET /service/coder/\x00 HTTP/1.1",
        b"GET /service/coder/\x01 HTTP/1.1", b"GET /service/coder/\x7f HTTP/1.1",
        b"G\x00T /service/coder/x HTTP/1.1", b"G(T /service/coder/x HTTP/1.1",
        b"\xc3\xa9 /service/coder/x HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ):  # fmt: skip
        yield Malformed(f"start {line!r}", _start(line))
    for target in (b"service/coder/x", b"*", b"http:/service/coder/x", b"?", b"#"):
        yield Malformed(f"target {target!r}", _start(b"GET %s HTTP/1.1" % target))
    for version in (b"HTTP/1.1x", b"HTTP/11", b"HTTP/1", b"http/1.1", b"HTTP/1,1", b"HTTP/-1.1"):
        yield Malformed(f"version {version!r}", _start(b"GET /service/coder/x " + version))
    for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.1"):
        yield Malformed(
            f"version {version!r}", _start(b"GET /service/coder/x " + version), UNKNOWN_VERSION
        )
    hosts = b"GET /service/coder/x HTTP/1.1\r\n%s\r\n"
    yield Malformed("no Host", hosts % b"")
    yield Malformed("two Hosts", hosts % b"Host: localhost\r\nHost: localhost\r\n")


def _too_large() -> Iterator[Malformed]:
    mib = b"a" * 1024 * 1024
    yield Malformed("a header of 1 MiB", _post(b"X-A: " + mib, LENGTH), LARGE)
    yield Malformed("a name of 1 MiB", _post(mib + b": 1", LENGTH), LARGE)
    yield Malformed("a header of 1 MiB without an end", _post(b"X-A: " + mib)[:-22], LARGE)
    flood = b"\r\n".join(b"X-%d: 1" % number for number in range(20_000))
    yield Malformed("20,000 headers", _post(flood, LENGTH), LARGE)
    yield Malformed("empty lines without end", b"\r\n" * 100_000, BAD | LARGE)
    yield Malformed("a target of 1 MiB", _post(LENGTH, path=b"/" + mib), LARGE_TARGET)
    yield Malformed("a method of 1 MiB", _start(mib + b" / HTTP/1.1"), BAD | LARGE)
    yield Malformed("a start without an end", mib, LARGE_TARGET)


HEADS = (*_framings(), *_lines(), *_starts(), *_too_large())

_GOOD = b"12\r\n" + BODY + b"\r\n"
CHUNKS = {
    "a negative size": b"-1\r\n" + BODY,
    "a size with a sign": b"+12\r\n" + BODY,
    "a size with a prefix": b"0x12\r\n" + BODY,
    "a size with a space before it": b" 12\r\n" + BODY,
    "a size with an underscore": b"1_2\r\n" + BODY,
    "no size": b"\r\n" + BODY,
    "a size that is none": b"zz\r\n" + BODY,
    "a size of 21 digits": b"F" * 21 + b"\r\n" + BODY,
    "a size without an end": b"0" * 100_000,
    "a bare LF after a size": b"12\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare CR after a size": b"12\r" + BODY + b"\r\n0\r\n\r\n",
    "NUL in a size": b"1\x002\r\n" + BODY,
    "no line end after a chunk": b"12\r\n" + BODY + b"0\r\n\r\n",
    "a bare LF after a chunk": b"12\r\n" + BODY + b"\n0\r\n\r\n",
    "more than its size in a chunk": b"11\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension of 1 MiB": b"12;" + b"a" * 1024 * 1024 + b"\r\n" + BODY,
    "a bare LF in an extension": b"12;a\n\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare LF after the last size": _GOOD + b"0\n\r\n",
    "a trailer with a space before the colon": _GOOD + b"0\r\nX-A : 1\r\n\r\n",
    "a trailer with NUL": _GOOD + b"0\r\nX-A: \x00\r\n\r\n",
    "a trailer of 1 MiB": _GOOD + b"0\r\nX-A: " + b"a" * 1024 * 1024 + b"\r\n\r\n",
    "20,000 trailers": _GOOD + b"0\r\n" + b"X-A: 1\r\n" * 20_000 + b"\r\n",
}
"""Chunked bodies that are none."""

TOLERABLE = {
    b"1000000000000012": b"1000000000000012\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"\x00": b"12;a=\x00\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"X-A": _GOOD + b"0\r\nX-A: 1\r\n 2\r\n\r\n",
}
"""Chunked bodies that h11 accepts, by what is wrong in them: a size, an extension, a trailer."""
