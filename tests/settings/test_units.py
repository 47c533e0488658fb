"""Sizes and durations."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxycore.config import GIB, MIB
from proxyserver._amounts import in_gib
from proxyserver.settings import _units

ANYTHING = st.one_of(
    st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("24GiB", 24 * GIB),
        ("512 MiB", 512 * MIB),
        ("16G", 16 * GIB),
        ("1.5g", GIB * 3 // 2),
        ("24GB", 24 * 10**9),
        ("10kb", 10_000),
        ("7B", 7),
        ("0", 0),
        (4096, 4096),
    ],
)
def test_sizes(written: Any, meant: int) -> None:
    """Each way to write a size means what people mean by it."""
    assert _units.size(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("500ms", 0.5), (2.5, 2.5), ("7", 7)],
)
def test_durations(written: Any, meant: float) -> None:
    """Each way to write a duration means what people mean by it."""
    assert _units.seconds(written) == meant


@pytest.mark.parametrize("written", ["24 giga", "-1GiB", "1e9", "", "GiB", -1, True, None, 1.5])
def test_what_is_no_size(written: Any) -> None:
    """What is no size is refused, not guessed."""
    with pytest.raises(ValueError, match="expected a size"):
        _units.size(written)


@pytest.mark.parametrize("written", ["soon", "5 min", "", True, None, math.nan, math.inf, [1]])
def test_what_is_no_duration(written: Any) -> None:
    """What is no duration is refused, not guessed."""
    with pytest.raises(ValueError, match="expected seconds"):
        _units.seconds(written)


@pytest.mark.parametrize("written", [0, -1, "0s", 10**400, "900d"])
def test_durations_are_of_this_world(written: Any) -> None:
    """Nothing waits for no time at all, or for ever."""
    with pytest.raises(ValueError, match="more than 0 and at most a year"):
        _units.seconds(written)


@given(ANYTHING)
def test_units_read_or_refuse(value: Any) -> None:
    """Whatever is written, it is a size in bounds or a ValueError; the same for durations."""
    for read, most in ((_units.size, 1 << 60), (_units.seconds, 366 * 86400.0)):
        with suppress(ValueError):
            assert 0 <= read(value) <= most


@given(st.integers(0, 1 << 60))
def test_amounts_are_told_nearly(amount: int) -> None:
    """What a message says of an amount reads back as about that amount."""
    assert _units.size(in_gib(amount)) == pytest.approx(amount, rel=0.01, abs=1)
