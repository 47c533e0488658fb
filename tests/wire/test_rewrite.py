"""Which fields pass, for all requests and answers that there may be."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.wire import (
    Header,
    Hop,
    RequestHead,
    ResponseHead,
    headers_to_client,
    scan_request,
    scan_response,
    to_client,
    to_upstream,
)
from proxyserver.wire._rewrite import HOP_BY_HOP, KEYS, OURS

HOP = Hop(b"127.0.0.1:1", b"10.0.0.9", b"http", b"/service/x", b"id-1")
FRAMING = (b"content-length", b"transfer-encoding")
TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(str.encode)
KNOWN = st.sampled_from(sorted([*HOP_BY_HOP, *OURS, *KEYS, b"Connection", b"X-a", b"Accept"]))
NAME = (KNOWN | TOKEN).filter(lambda name: name.lower() not in (*FRAMING, b"host"))
VALUE = st.binary(max_size=12).map(
    lambda value: bytes(byte for byte in value if byte in range(0x21, 0x7F) or byte >= 0x80)
)
HEADERS = st.lists(st.tuples(NAME, VALUE | st.lists(NAME, max_size=3).map(b", ".join)), max_size=8)
FRAME = st.sampled_from([None, (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")])


def names(headers: list[Header]) -> set[bytes]:
    return {name.lower() for name, _ in headers}


def values(headers: list[Header], name: bytes) -> list[bytes]:
    return [value for found, value in headers if found.lower() == name]


def options(headers: list[Header]) -> set[bytes]:
    listed = b",".join(values(headers, b"connection")).split(b",")
    return {option.strip().lower() for option in listed} - {b""}


def lines(headers: list[Header]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)


def request(headers: list[Header]) -> RequestHead:
    head = scan_request(b"POST /service/x/y HTTP/1.1\r\n" + lines(headers) + b"\r\n")
    assert head is not None
    return head


def response(headers: list[Header]) -> ResponseHead:
    head = scan_response(b"HTTP/1.1 200 OK\r\n" + lines(headers) + b"\r\n", b"GET")
    assert head is not None
    return head


def rewritten(headers: list[Header], hop: Hop = HOP) -> list[Header]:
    head = scan_request(to_upstream(request(headers), hop, b"/y"))
    assert head is not None
    return head.headers()


@given(HEADERS, FRAME)
def test_no_header_of_a_hop_reaches_the_upstream(
    headers: list[Header], frame: Header | None
) -> None:
    """What concerns one hop stays, what we say is said once, all else passes in order and case."""
    headers = [(b"Host", b"a"), *headers, *([frame] if frame else [])]
    sent = rewritten(headers)
    hop = HOP_BY_HOP | options(headers)
    framed = names(sent) & {*FRAMING}
    assert framed == ({frame[0].lower()} if frame else set())
    assert (names(sent) & hop) - OURS - framed == set()
    assert all(len(values(sent, name)) <= 1 for name in OURS)
    passed = [header for header in headers if header[0].lower() not in hop | OURS]
    rest = [header for header in sent if header[0].lower() not in OURS | framed]
    assert rest == passed
    assert values(sent, b"x-forwarded-for")[0].endswith(b"10.0.0.9")
    assert values(sent, b"host") == [b"127.0.0.1:1"]


@given(HEADERS, FRAME, st.sampled_from([None, 3]))
def test_h11_agrees_on_the_framing(
    headers: list[Header], frame: Header | None, length: int | None
) -> None:
    """Whatever the client sends along, the upstream reads the body that we mean."""
    head = request([(b"Host", b"a"), *headers, *([frame] if frame else [])])
    data = to_upstream(head, HOP, b"/y", length=length)
    chunked = frame == (b"Transfer-Encoding", b"chunked") and length is None
    body = b"abc" if frame or length else b""
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(data + (b"3\r\nabc\r\n0\r\n\r\n" if chunked else body))
    assert isinstance(theirs.next_event(), h11.Request)
    read = b""
    while isinstance(event := theirs.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert read == body
    assert theirs.trailing_data == (b"", False)


@given(
    HEADERS, st.sampled_from([None, (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")])
)
def test_no_header_of_a_hop_reaches_the_client(headers: list[Header], frame: Header | None) -> None:
    """The other way round the same holds; what is not framed is announced in chunks."""
    headers = [*headers, *([frame] if frame else [])]
    head = response(headers)
    sent = scan_response(to_client(head, b"X-Request-Id: id-1\r\n"), b"GET")
    assert sent is not None
    own = sent.headers()
    hop = (HOP_BY_HOP | options(headers)) - {b"trailer", b"transfer-encoding", b"content-length"}
    assert names(own) & hop - {b"x-request-id"} == set()
    assert values(own, b"x-request-id") == [b"id-1"]
    assert values(own, b"content-length") == ([b"3"] if frame and frame[1] == b"3" else [])
    assert sent.length == (3 if frame and frame[1] == b"3" else -1)
    unframed = [header for header in own if header[0].lower() not in (*FRAMING, b"x-request-id")]
    plain = [header for header in headers_to_client(head) if header[0].lower() not in FRAMING]
    assert [header for header in unframed if header[0].lower() != b"trailer"] == plain


def test_a_head_arrives_as_it_should() -> None:
    """As a whole, with the blanks and the bytes that the client sent."""
    head = scan_request(
        b"POST /service/x/y?z HTTP/1.1\r\nhost: localhost:1\r\nConnection: keep-alive, X-Hop\r\n"
        b"X-hop: 1\r\nX-OdD:\tkept\xff \r\nAuthorization: Bearer mine\r\nExpect: 100-continue\r\n"
        b"Content-Length: 5\r\n\r\n"
    )
    assert head is not None
    hop = Hop(b"up:1", b"::1", b"http", b"/service/x", b"id-1", b"Bearer theirs")
    assert to_upstream(head, hop, b"/y?z") == (
        b"POST /y?z HTTP/1.1\r\nHost: up:1\r\nX-OdD:\tkept\xff \r\nAuthorization: Bearer theirs\r\n"
        b"Content-Length: 5\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: localhost:1\r\nX-Forwarded-Prefix: /service/x\r\n"
        b"X-Request-Id: id-1\r\n\r\n"
    )


def test_a_proxy_before_us_is_believed() -> None:
    """It knows scheme, name and prefix that the client used; its list of addresses grows."""
    sent = rewritten(
        [
            (b"Host", b"localhost"),
            (b"X-Forwarded-For", b"1.1.1.1"),
            (b"X-Forwarded-For", b"2.2.2.2"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"ai.example"),
            (b"X-Forwarded-Prefix", b"/llm"),
        ]
    )
    assert sent == [
        (b"Host", b"127.0.0.1:1"),
        (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2, 10.0.0.9"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"ai.example"),
        (b"X-Forwarded-Prefix", b"/llm/service/x"),
        (b"X-Request-Id", b"id-1"),
    ]


@pytest.mark.parametrize(
    ("client", "element"),
    [(b"1.2.3.4", b"for=1.2.3.4"), (b"::1", b'for="[::1]"')],
)
def test_the_standard_list_of_hops_goes_on(client: bytes, element: bytes) -> None:
    """Where a proxy before us has begun one (RFC 7239)."""
    hop = Hop(b"up", client, b"http", b"", b"id-1")
    sent = rewritten([(b"Host", b"h:1"), (b"Forwarded", b"for=9.9.9.9")], hop)
    assert values(sent, b"forwarded") == [b'for=9.9.9.9, %s;proto=http;host="h:1"' % element]


def test_a_websocket_is_asked_for_and_granted() -> None:
    """The only upgrade that passes, in both directions."""
    handshake = [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Key", b"k"),
    ]
    sent = scan_request(
        to_upstream(request([(b"Host", b"a"), *handshake]), HOP, b"/y", websocket=True)
    )
    assert sent is not None
    assert {*handshake} <= {*sent.headers()}
    head = scan_response(b"HTTP/1.1 101 Go\r\n" + lines(handshake) + b"\r\n", b"GET")
    assert head is not None
    granted = scan_response(to_client(head, b"", websocket=True), b"GET")
    assert granted is not None
    assert sorted(granted.headers()) == sorted(handshake)
