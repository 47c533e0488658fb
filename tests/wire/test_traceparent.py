"""The header `traceparent` is read as W3C has it, and written so that it reads the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.wire import TraceParent, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@given(
    st.builds(
        TraceParent,
        st.integers(1, (1 << 128) - 1),
        st.integers(1, (1 << 64) - 1),
        st.booleans(),
    )
)
def test_what_is_written_is_read(parent: TraceParent) -> None:
    """Whatever the ids."""
    assert parse_traceparent(parent.header) == parent


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_valid_ones(value: str, sampled: bool) -> None:
    """Unknown flags mean nothing; versions to come begin as this one does."""
    assert parse_traceparent(value.encode()) == TraceParent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "rubbish",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01 ",
    ],
)
def test_invalid_ones(value: str) -> None:
    """A new trace begins."""
    assert parse_traceparent(value.encode()) is None
