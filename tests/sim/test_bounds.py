"""The bounds that policies are measured by are those of the traces that come with the project."""

import pytest

from benchmarks.policies import CAPACITIES, SEEDS, bounds, traffic
from proxycore.sim import least_load_s


def test_there_is_a_bound_for_each_draw() -> None:
    """Each seed and capacity once."""
    for capacity in CAPACITIES:
        assert [entry["seed"] for entry in bounds(capacity)] == list(SEEDS)


@pytest.mark.slow
def test_a_stored_bound_is_found_again() -> None:
    """One of them, the quickest; `python -m benchmarks.policies` makes all."""
    [stored] = [entry["least_load_s"] for entry in bounds(24) if entry["seed"] == 3]
    assert least_load_s(traffic(24, 3)) == stored
