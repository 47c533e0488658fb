"""Heads: whatever is accepted, h11 reads in the same way; what could be read in two ways is not."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyserver.wire import (
    CHUNKED,
    HEAD_MAX,
    UNTIL_CLOSE,
    BadWire,
    RequestHead,
    ResponseHead,
    scan_request,
    scan_response,
    to_client,
    without_cors,
)

REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/x?y=%20 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 12\r\nX-OdD: \t v \xe9 \r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, X-A\r\n\r\n",
    b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\nEmpty:\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\n",
    b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 404 Not \xe9 Found\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",
)
NASTY = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"0", b"9" * 20, b"-", b"+", b"_"),
        *(b"\r\nContent-Length: 5", b"\r\nTransfer-Encoding: chunked", b"\r\nHost: b", b"\r\n "),
        *(b"chunked", b"identity, chunked", b"Content-Length : 3", b"HTTP/1.1", b"\r\n\r\n"),
        *(b"#", b"\x0b", b"\xff"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, heads: tuple[bytes, ...]) -> bytes:
    """Return a head with a few places replaced, doubled or taken out."""
    head = draw(st.sampled_from(heads))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(head)))
        to = min(len(head), at + draw(st.integers(0, 3)))
        head = head[:at] + draw(NASTY | st.just(b"") | st.binary(max_size=2)) + head[to:]
    return head


def read_by_h11(
    head: RequestHead | ResponseHead, event: h11.Request | h11.Response | h11.InformationalResponse
) -> int:
    """Check that h11 found the same fields; return the framing that it will use."""
    assert [(name, value) for name, value in head.headers()] == event.headers.raw_items()
    lengths = [value for name, value in event.headers if name == b"content-length"]
    if any(name == b"transfer-encoding" for name, _ in event.headers):
        return CHUNKED
    return int(lengths[0]) if lengths else UNTIL_CLOSE


@given(mutated(REQUESTS))
@settings(max_examples=500)
def test_h11_reads_every_accepted_request_alike(data: bytes) -> None:
    """Method, target, version, fields, length and where the head ends."""
    try:
        head = scan_request(data)
    except BadWire:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(data)
    event = theirs.next_event()
    if head is None:
        assert event is h11.NEED_DATA
        return
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (
        head.method,
        head.target,
        head.version,
    )
    framing = read_by_h11(head, event)
    assert head.length == (0 if framing == UNTIL_CLOSE else framing)
    assert theirs.trailing_data[0] == data[head.size :]


@given(mutated(ANSWERS), st.sampled_from([b"GET", b"HEAD"]))
@settings(max_examples=500)
def test_h11_reads_every_accepted_answer_alike(data: bytes, method: bytes) -> None:
    """Status, reason, fields, and how long the body will be."""
    try:
        head = scan_response(data, method)
    except BadWire:
        return
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(data)
    event = theirs.next_event()
    if head is None:
        assert event is h11.NEED_DATA
        return
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    assert (event.status_code, event.reason) == (head.status, head.reason)
    framing = read_by_h11(head, event)
    bodiless = method == b"HEAD" or head.status < 200 or head.status in (204, 304)
    assert head.length == (0 if bodiless else framing)
    assert theirs.trailing_data[0] == data[head.size :]


@pytest.mark.parametrize("data", REQUESTS)
def test_a_request_is_not_read_before_its_end(data: bytes) -> None:
    """At every split: nothing, then all, whatever follows."""
    for split in range(len(data)):
        assert scan_request(data[:split]) is None
    for more in (b"", b"\0", b"GET / HTTP/1.1\r\n"):
        head = scan_request(data + more)
        assert head is not None
        assert head.size == len(data)


@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_not_read_before_its_end(data: bytes) -> None:
    """At every split, as a request."""
    for split in range(len(data)):
        assert scan_response(data[:split], b"GET") is None
    assert scan_response(data + b"\r\n\r\n", b"GET") is not None


REFUSED = {
    "bare newline": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "only bare newlines": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
    "control character": b"GET / HTTP/1.1\r\nHost: a\x0b\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "folded first": b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n",
    "blank before colon": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
    "both framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length in Python's way": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n",
    "huge length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n",
    "empty length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "hidden coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no path": b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in target": b"GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw UTF-8 in target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "blank line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01",
    "too large": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_MAX,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_servers_disagree_about_is_refused(data: bytes) -> None:
    """With a status and words that say what is wrong."""
    with pytest.raises(BadWire) as refused:
        scan_request(data)
    assert refused.value.status in (400, 431, 501)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    """Two framings, another protocol."""
    with pytest.raises(BadWire):
        scan_response(data, b"GET")


def test_an_answer_with_both_framings_is_chunked_and_the_last_one() -> None:
    """RFC 9112, 6.3: its length is not to be believed, nor the connection after it."""
    head = scan_response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET"
    )
    assert head is not None
    assert (head.length, head.keeps) == (CHUNKED, False)


@pytest.mark.parametrize(
    ("lines", "wants"),
    [
        (b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", True),
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", False),
        (b"Upgrade: websocket\r\n", False),
        (b"", False),
    ],
)
def test_who_wants_a_websocket(lines: bytes, wants: bool) -> None:
    """Both fields say so, in any case, within lists."""
    head = scan_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
    assert head is not None
    assert head.wants_websocket is wants


def test_a_head_that_comes_again_is_read_alike() -> None:
    """It is remembered; what one request makes of it is no business of the next."""
    data = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 5\r\n\r\n"
    for _ in range(2):
        head, bare = scan_response(data + b"hello", b"GET"), scan_response(data, b"HEAD")
        assert head is not None
        assert bare is not None
        assert (head.length, bare.length, head.size) == (5, 0, len(data))
        assert b"Allow-Origin" in to_client(head, b"")
        assert b"Allow-Origin" not in to_client(without_cors(head), b"")
        assert to_client(head, b"A: 1\r\n") != to_client(head, b"A: 2\r\n")
