"""What the core costs, how fast it can be simulated, and what its tests would notice."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from proxycore.sim import simulate
from tests.core import operators, test_mutants
from tests.core.mutants import MUTANTS

from . import _core
from ._harness import Figure
from .policies import traffic

GENERATED = 100
"""A sample: all there are would take an hour."""
CAPACITY_GB = 48
SEED = 1


def measure() -> Sequence[Figure]:
    """Return the figures of the core."""
    return (*speed(), *simulation(), *planted(), *generated())


def speed() -> Sequence[Figure]:
    """Measure decisions: what one request costs, what a queue adds, what making room takes."""
    few, many = _core.request_us(10), _core.request_us(10_000)
    in_short, in_long = _core.place_us(10), _core.place_us(10_000)
    return (
        Figure("us_per_request_20_services", few, at_most=30.0),
        Figure("us_per_request_in_a_queue", in_short),
        Figure("growth_10_to_10000_waiters", max(many / few, in_long / in_short), at_most=1.5),
        Figure("eviction_p99_ms", _core.eviction_p99_ms(), at_most=5.0),
    )


def simulation() -> Sequence[Figure]:
    """Simulate a trace of 14 days, with a World that checks every promise, and without."""
    return (
        Figure("simulation_x_real_time", x_real_time(checked=True), at_least=3000.0),
        Figure("simulation_x_real_time_unchecked", x_real_time(checked=False)),
    )


def x_real_time(*, checked: bool) -> float:
    """Return the simulated time over the time that its simulation takes."""
    requests = traffic(CAPACITY_GB, SEED)
    begin = perf_counter()
    simulate(requests, checked=checked)
    took_s = perf_counter() - begin
    return (requests.requests[-1].at - requests.requests[0].at) / took_s


def planted() -> Sequence[Figure]:
    """Plant every fault by hand; the World has to say which promise it breaks."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        caught = test_mutants.hunts(MUTANTS, Path(folder))
    missed = [mutant.name for mutant, breach in caught.items() if not breach]
    for name in missed:
        print(f"not caught: {name}")
    return (
        Figure("mutants_planted", len(caught)),
        Figure("mutants_missed", len(missed), at_most=0),
        Figure("mutants_caught", len(caught) - len(missed)),
    )


def generated() -> Sequence[Figure]:
    """Change operators and drop statements at random; the tests of the core have to fail."""
    verdicts = operators.judge_all(operators.sample(GENERATED))
    told: dict[operators.Verdict, list[str]] = {verdict: [] for verdict in operators.Verdict}
    for mutant, verdict in verdicts.items():
        told[verdict].append(mutant.text)
    survived, endless = told[operators.Verdict.SURVIVED], told[operators.Verdict.ENDLESS]
    for text in survived:
        print(f"survived: {text}")
    caught = (len(verdicts) - len(survived)) / len(verdicts)
    return (
        Figure("operator_mutants_generated", len(verdicts)),
        Figure("operator_mutants_endless", len(endless)),
        Figure("operator_mutants_caught_ratio", caught, at_least=operators.PROMISED),
    )
