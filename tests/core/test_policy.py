"""Policies value as their names say, and the worst of them breaks no promise."""

import math
from random import Random
from typing import Any

import attrs
import pytest

from proxycore import POLICIES, EvictionPolicy, Idle
from proxycore.config import GIB
from proxycore.policy import DEFAULT, safe_values
from proxycore.sim import walk

from .shapes import CHAT, CODER, on

RUN = Idle(CODER, on(gpu0=16), load_s=10.0, requests=4.0, idle_s=60.0, rent=0.25)


@attrs.frozen
class Says:
    """A policy that says the same of everybody."""

    what: Any
    name: str = "says"

    def value(self, run: Idle) -> float:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what  # type: ignore[no-any-return]


MAD = [math.nan, math.inf, -1.0, None, "7", ValueError("no"), 1 + 1j, 10**400]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost_rate", 10 * (4 / 1.5) ** 0.4),
        ("landlord", 6.0),
        ("lfu", 4.0),
        ("largest_first", 1 / 16),
    ],
)
def test_shipped_policy_values_as_it_says(name: str, value: float) -> None:
    """Load time by demand, load time less rent, demand, size."""
    assert POLICIES[name].value(RUN) == value


def test_size_counts_from_one_gib_up() -> None:
    """Sixteen times the size is worth half as much."""
    tiny, small, large = (
        POLICIES["cost_rate"].value(attrs.evolve(RUN, placement=on(gpu0=size)))
        for size in (1, GIB, 16 * GIB)
    )
    assert (tiny, small) == (2 * large, 2 * large)


def test_recency_is_an_order_of_its_own() -> None:
    """Ten who rested a little longer are still worth less together than one who did not."""
    older, younger = (attrs.evolve(RUN, idle_s=idle_s) for idle_s in (66.0, 60.0))
    lru = POLICIES["lru"]
    assert 9 * lru.value(older) < lru.value(younger)
    for idle_s in (0.0, 1e9):
        assert 0 < lru.value(attrs.evolve(RUN, idle_s=idle_s)) < math.inf


def test_rent_never_makes_worth_negative() -> None:
    """Who has nothing left to pay with is worth nothing."""
    assert POLICIES["landlord"].value(attrs.evolve(RUN, rent=1.0)) == 0.0


def test_policies_are_found_by_their_own_names() -> None:
    """The default comes first."""
    assert [policy.name for policy in POLICIES.values()] == list(POLICIES)
    assert next(iter(POLICIES.values())) is DEFAULT


@pytest.mark.parametrize("what", MAD, ids=repr)
def test_nonsense_is_replaced_for_the_whole_decision(what: object) -> None:
    """Values of two policies are never compared."""

    @attrs.frozen
    class Half:
        name: str = "half"

        def value(self, run: Idle) -> float:
            return 1.0 if run.service == CODER else Says(what).value(run)

    other = attrs.evolve(RUN, service=CHAT, load_s=1.0)
    assert safe_values(Half(), (RUN, other)) == (DEFAULT.value(RUN), DEFAULT.value(other))


@attrs.frozen
class Dice:
    """A policy that says anything."""

    random: Random
    name: str = "dice"

    def value(self, run: Idle) -> float:
        return Says(self.random.choice([0.0, 1e300, *MAD])).value(run)


@pytest.mark.parametrize(
    "make", [Dice, *(lambda random, one=one: one for one in POLICIES.values())]
)
def test_no_policy_breaks_a_promise(make: Any) -> None:
    """The World finds nothing to object to, whatever a policy says."""
    for seed in range(12):
        policy: EvictionPolicy = make(Random(seed))
        # A replay asks for values again, and dice would give others.
        walk(Random(seed), 120, policy, replays=not isinstance(policy, Dice))
