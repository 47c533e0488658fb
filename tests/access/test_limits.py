"""The limits of a key hold, whenever its requests come."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from proxyserver.access import Allowance, _limits, _loopback


@given(
    rate=st.integers(1, 100),
    gaps=st.lists(st.floats(0, 30), max_size=300),
    begin=st.floats(0, 1e6),
)
def test_nobody_asks_more_than_the_rate_allows(rate: int, gaps: list[float], begin: float) -> None:
    """Within any time: a minute's worth, and the rate."""
    allowance = Allowance(per_minute=rate)
    now, taken = begin, []
    for gap in gaps:
        now += gap
        if allowance.take(now) is None:
            taken.append(now)
            allowance.give_back()
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            within_s = taken[last] - start
            assert last - first + 1 <= rate + within_s * rate / 60 + 1e-6


@given(rate=st.integers(1, 1000))
def test_who_waits_as_told_gets_it(rate: int) -> None:
    """And not before."""
    allowance = Allowance(per_minute=rate)
    for _ in range(rate):
        assert allowance.take(100.0) is None
    short = allowance.take(100.0)
    assert short is not None
    assert short.retry_after_s is not None
    assert allowance.take(100.0 + short.retry_after_s * 0.9) is not None
    assert allowance.take(100.0 + short.retry_after_s + 1e-6) is None


def test_a_long_silence_saves_up_a_minute_at_most() -> None:
    """Whoever comes after a day asks as after a minute."""
    allowance = Allowance(per_minute=3)
    assert allowance.take(0.0) is None
    assert [allowance.take(86400.0) is None for _ in range(5)] == [True] * 3 + [False] * 2


def test_places_come_back() -> None:
    """As many at once as allowed; a refused request takes neither place nor token."""
    allowance = Allowance(per_minute=60, at_once=2)
    assert [allowance.take(5.0) is None for _ in range(4)] == [True, True, False, False]
    assert dict(allowance.headers())[b"x-ratelimit-remaining-requests"] == b"58"
    allowance.give_back()
    assert allowance.take(5.0) is None
    assert allowance.in_flight == 2


def test_a_clock_that_stands_or_errs_gives_nothing() -> None:
    """Requests that came at once may be looked at in any order."""
    allowance = Allowance(per_minute=1)
    assert allowance.take(50.0) is None
    for now in (50.0, 10.0, 50.0, 40.0, 50.0):
        assert allowance.take(now) is not None


def test_what_is_left_is_told_as_openai_does() -> None:
    """The names and forms are those that clients read."""
    allowance = Allowance(per_minute=30)
    allowance.take(7.0)
    assert allowance.headers() == (
        (b"x-ratelimit-limit-requests", b"30"),
        (b"x-ratelimit-remaining-requests", b"29"),
        (b"x-ratelimit-reset-requests", b"2.000s"),
    )
    assert Allowance(at_once=1).headers() == ()


def test_the_examples_are_true() -> None:
    """They stand in the docstrings."""
    assert doctest.testmod(_limits).failed == 0
    assert doctest.testmod(_loopback).failed == 0
