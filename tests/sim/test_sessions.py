"""Agents that take turns are not traded for each other, and the rare one is served in time."""

import pytest

from benchmarks._sessions import rare_b, two_agents_over_eager


@pytest.mark.slow
def test_two_agents_get_much_done() -> None:
    """Sparing who comes back in a moment is worth five times the requests."""
    assert two_agents_over_eager() >= 5.0


@pytest.mark.slow
def test_the_rare_one_waits_as_long_as_promised() -> None:
    """Beside a service that is never idle: patience, one request and the swap, and no longer."""
    wait_s, promised_s = rare_b()
    assert wait_s <= promised_s
