"""The offline optimum is the optimum."""

from collections.abc import Sequence
from itertools import combinations
from random import Random

import pytest

from proxycore import (
    POLICIES,
    CoreConfig,
    DeviceSpec,
    LocalError,
    Placement,
    ServiceId,
    ServiceSpec,
)
from proxycore.sim import Machine, least_load_s, simulate
from proxycore.sim.traffic import GPU, Request, Traffic


def drawn(random: Random) -> Traffic:
    """Return a small instance."""
    services = tuple(
        ServiceSpec(
            ServiceId(name),
            (Placement.of([(GPU, random.randint(1, 6))]),),
            load_s=float(random.randint(1, 9)),
        )
        for name in "abcde"
    )
    requests = tuple(
        Request(float(at), random.choice(services).id, 0.0) for at in range(random.randint(1, 14))
    )
    return Traffic(CoreConfig((DeviceSpec(GPU, 9, headroom=0),), services), requests)


def tried(traffic: Traffic) -> float:
    """Return the least load by trying everything: any set may be held after each request."""
    size = {spec.id: spec.placements[0].amounts[0][1] for spec in traffic.config.services}
    load_s = {spec.id: spec.load_s for spec in traffic.config.services}
    fitting = [
        frozenset(held)
        for n in range(len(size) + 1)
        for held in combinations(size, n)
        if sum(size[service] for service in held) <= 9
    ]
    costs = {frozenset[ServiceId](): 0.0}
    for request in traffic.requests:
        costs = {
            held: min(
                cost + sum(load_s[service] for service in held - before)
                for before, cost in costs.items()
            )
            for held in fitting
            if request.service in held
        }
    return min(costs.values())


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_cheaper(seed: int) -> None:
    """The bound is what trying everything finds."""
    traffic = drawn(Random(seed))
    assert least_load_s(traffic) == tried(traffic)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_is_below_the_bound(policy: str, seed: int) -> None:
    """In pure caching each start is paid."""
    traffic = drawn(Random(seed))
    report = simulate(traffic, POLICIES[policy], machine=Machine(instant=True))
    assert report.load_s >= least_load_s(traffic)


def spec(*placements: Placement) -> Sequence[ServiceSpec]:
    return (ServiceSpec(ServiceId("a"), placements),)


@pytest.mark.parametrize(
    ("services", "message"),
    [
        (spec(Placement.of([(GPU, 1)]), Placement()), "a may be placed in several ways"),
        (spec(Placement.of([(GPU, 10)])), "a claims more than there is"),
    ],
)
def test_what_has_no_bound_is_said(services: Sequence[ServiceSpec], message: str) -> None:
    """No figure is better than a wrong one."""
    config = CoreConfig((DeviceSpec(GPU, 9, headroom=0),), tuple(services))
    with pytest.raises(LocalError, match=message):
        least_load_s(Traffic(config, ()))
