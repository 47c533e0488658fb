"""Which headers pass, for all requests and answers that there may be."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.http._headers import (
    HOP_BY_HOP,
    Header,
    Hop,
    connection_options,
    framing,
    to_client,
    to_upstream,
    values,
)
from proxyserver.http.errors import ApiError

HOP = Hop(b"127.0.0.1:1", b"10.0.0.9", b"http", b"/service/x", b"id-1")
OWN = {
    b"host",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-request-id",
}

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(str.encode)
KNOWN = st.sampled_from(
    sorted([*HOP_BY_HOP, *OWN, b"Expect", b"Connection", b"X-a", b"x-B", b"Accept"])
)
NAME = KNOWN | TOKEN.filter(lambda name: name.lower() not in (b"content-length",))
VALUE = st.binary(max_size=12).map(
    lambda value: bytes(byte for byte in value if byte in range(0x21, 0x7F) or byte >= 0x80)
)
HEADERS = st.lists(st.tuples(NAME, VALUE | st.lists(NAME, max_size=3).map(b", ".join)), max_size=8)
FRAME = st.sampled_from([None, (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")])


def names(headers: list[Header]) -> set[bytes]:
    return {name.lower() for name, _ in headers}


@given(HEADERS, FRAME)
def test_no_header_of_a_hop_reaches_the_upstream(
    headers: list[Header], frame: Header | None
) -> None:
    """What concerns one hop stays, what we say is said once, all else passes in order and case."""
    sent = to_upstream(headers, HOP, frame)
    framed = {frame[0].lower()} if frame else set()
    hop = HOP_BY_HOP | connection_options(headers)
    assert (names(sent) & hop) - OWN - framed == set()
    assert all(len(values(sent, name)) <= 1 for name in OWN)
    passed = [header for header in headers if header[0].lower() not in hop | OWN | {b"expect"}]
    rest = [header for header in sent if header[0].lower() not in OWN | framed]
    assert rest == passed
    assert values(sent, b"x-forwarded-for")[0].endswith(b"10.0.0.9")


@given(HEADERS, FRAME)
def test_h11_agrees_on_the_framing(headers: list[Header], frame: Header | None) -> None:
    """Whatever the client sends along, the upstream reads the body that we mean."""
    sent = to_upstream(headers, HOP, frame)
    ours, theirs = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    data = ours.send(h11.Request(method="POST", target="/", headers=sent)) or b""
    if frame is not None:
        data += ours.send(h11.Data(data=b"abc")) or b""
    data += ours.send(h11.EndOfMessage()) or b""
    theirs.receive_data(data)
    assert isinstance(theirs.next_event(), h11.Request)
    body = b""
    while isinstance(event := theirs.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert body == (b"abc" if frame else b"")
    assert theirs.trailing_data == (b"", False)


@given(HEADERS)
def test_no_header_of_a_hop_reaches_the_client(headers: list[Header]) -> None:
    """The other way round the same holds, and the length stays unless chunks framed the body."""
    answered = [(b"Content-Length", b"3"), *headers]
    sent = to_client(answered)
    assert names(sent) & (HOP_BY_HOP | {b"x-request-id"}) == set()
    chunked = bool(values(headers, b"transfer-encoding"))
    assert values(sent, b"content-length") == ([] if chunked else [b"3"])


def test_two_framings_are_refused() -> None:
    """Content-Length and Transfer-Encoding together: nobody can know where the body ends."""
    both = [(b"content-length", b"3"), (b"Transfer-Encoding", b"chunked")]
    with pytest.raises(ApiError) as refused:
        framing(both)
    assert refused.value.status == 400
    assert framing(both[:1]) == (b"Content-Length", b"3")
    assert framing(both[1:]) == (b"Transfer-Encoding", b"chunked")
    assert framing([]) is None


def test_a_proxy_before_us_is_believed() -> None:
    """It knows scheme, name and prefix that the client used; its list of addresses grows."""
    sent = to_upstream(
        [
            (b"Host", b"localhost"),
            (b"X-Forwarded-For", b"1.1.1.1"),
            (b"X-Forwarded-For", b"2.2.2.2"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"ai.example"),
            (b"X-Forwarded-Prefix", b"/llm"),
        ],
        HOP,
        None,
    )
    assert sent == [
        (b"Host", b"127.0.0.1:1"),
        (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2, 10.0.0.9"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"ai.example"),
        (b"X-Forwarded-Prefix", b"/llm/service/x"),
        (b"X-Request-Id", b"id-1"),
    ]
