"""Bodies: their end is found at every split, h11 finds it there, the rest is refused."""

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyserver.wire import BadWire, ChunkedBody, EndlessBody, LengthBody, body_of

GOOD = (
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b'1;x=y\r\na\r\nA;z="q"\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n',
    b"2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n",
)
NASTY = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b"\0", b" ", b";", b"0", b"-1", b"+1", b"0x1", b"1_0", b"g"),
        *(
            b"f" * 15,
            b"f" * 16,
            b"\r\n0\r\n\r\n",
            b"5\r\n",
            b"\xff",
            b"a" * 600,
            b": ",
            b"X: 1\r\n",
        ),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 2)))
        data = data[:at] + draw(NASTY | st.just(b"")) + data[to:]
    return data


def read(data: bytes, sizes: list[int]) -> tuple[bytes, int, bool]:
    """Return the payload, how much of the data belongs to the body, and whether it is whole."""
    body = ChunkedBody()
    payload = b""
    at = 0
    for size in [*sizes, len(data)]:
        pieces: list[tuple[int, int]] = []
        to = min(len(data), at + size)
        end = body.take(data, at, to, pieces)
        payload += b"".join(data[start:stop] for start, stop in pieces)
        at = end
        if body.done:
            break
    assert body.payload == len(payload)
    return payload, at, body.done


@given(mutated(), st.lists(st.integers(1, 5), max_size=40))
@example(b"5\r\nhello\r\n0\r\n\r\n", [1] * 16)
@settings(max_examples=500)
def test_h11_reads_every_accepted_body_alike(data: bytes, sizes: list[int]) -> None:
    """Payload and end, however it comes; only h11's opinion on what it refuses may differ."""
    try:
        payload, end, done = read(data, sizes)
    except BadWire:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    assert isinstance(theirs.next_event(), h11.Request)
    theirs_payload = b""
    while isinstance(event := theirs.next_event(), h11.Data):
        theirs_payload += event.data
    assert theirs_payload == payload
    assert isinstance(event, h11.EndOfMessage) is done
    if done:
        assert theirs.trailing_data[0] == data[end:]


@pytest.mark.parametrize("data", GOOD)
def test_a_body_ends_at_the_same_place_at_every_split(data: bytes) -> None:
    """With another message behind it, in two pieces and byte by byte."""
    whole = read(data + b"GET /", [])
    assert whole[1:] == (len(data), True)
    assert read(data + b"GET /", [1] * (len(data) + 5)) == whole
    for split in range(1, len(data)):
        assert read(data + b"GET /", [split]) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 ;x\r\n",
        b"\r\n",
        b"g\r\n",
        b"1\na",
        b"1\r\nab",
        b"1\r\na\n",
        b"fffffffffffffffff\r\n",
        b"1;" + b"x" * 600,
        b"1;\0\r\n",
        b"1;a\nb\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"0\r\nX: 1\r\nContent-length: 1\r\n\r\n",
        b"0\r\nX: " + b"x" * 20_000,
    ],
)
def test_bad_chunks_are_refused(data: bytes) -> None:
    """At once, whatever would come next, and however it comes."""
    for sizes in ([], [1] * len(data), [2] * len(data)):
        with pytest.raises(BadWire):
            read(data, sizes)


def test_places_between_chunks_are_known() -> None:
    """Where something could be put in: before the first, after each, not after the last."""
    data = b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    body = ChunkedBody()
    places = [0] if body.between else []
    for at in range(len(data)):
        body.take(data, at, at + 1)
        if body.between:
            places.append(at + 1)
    assert places == [0, 10, 16]


def test_a_part_of_a_chunk_is_known() -> None:
    """What is left of it, so that the part that was held can be sent as a chunk of its own."""
    body = ChunkedBody()
    body.take(b"10\r\n12345", 0, 9)
    assert (body.chunk_left, body.payload) == (11, 5)


@given(st.integers(0, 20), st.lists(st.integers(0, 5), max_size=10))
def test_a_body_of_known_length_ends_there(length: int, sizes: list[int]) -> None:
    """However it comes."""
    data = bytes(40)
    body = body_of(length)
    at = 0
    for size in [*sizes, 40]:
        at = body.take(data, at, min(40, at + size))
    assert (at, body.done, body.payload) == (length, True, length)
    assert isinstance(body, LengthBody)


def test_a_body_without_end_has_none() -> None:
    """All that comes belongs to it."""
    body = EndlessBody()
    assert body.take(b"abc", 1, 3) == 3
    assert (body.done, body.payload) == (False, 2)


@pytest.mark.parametrize("data", GOOD)
def test_what_was_held_can_be_followed_by_the_rest(data: bytes) -> None:
    """At every split: the payload so far as a chunk, then the bytes as they come."""
    payload, _, _ = read(data, [])
    for split in range(len(data)):
        pieces: list[tuple[int, int]] = []
        body = ChunkedBody()
        body.take(data, 0, split, pieces)
        held = b"".join(data[start:end] for start, end in pieces)
        before, after = body.around(len(held))
        changed = before + held.swapcase() + after + data[split:]
        assert read(changed, []) == (
            held.swapcase() + payload[len(held) :],
            len(changed),
            True,
        )
