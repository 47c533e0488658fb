"""How near the policies come to the offline optimum, and what that means for those who wait."""

import gzip
import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from proxycore import ServiceId
from proxycore.policy import POLICIES
from proxycore.sim import Machine, least_load_s, simulate
from proxycore.sim.traffic import GB, Request, Traffic, drawn_traffic, read_trace

from ._harness import ROOT, Figure
from ._sessions import rare_b, two_agents_over_eager

TRACES = ROOT / "benchmarks" / "traces"
BOUNDS = TRACES / "bounds.json"
TRACE = "servegen14_14d_seed1"
SEEDS = range(6)
HELD_OUT_SEEDS = range(18, 24)
"""Draws that nothing was tuned on."""
SLOWER = 200.0
"""One hour of the azure trace makes eight days: as many requests a day as the other has."""
CAPACITIES = (24, 48)
"""In GB, as the catalogue."""
HOW = "exact: proxycore.sim.least_load_s"


def measure() -> Sequence[Figure]:
    """Return the figures of the policies, and of the rules of admission."""
    rare_wait_s, promised_s = rare_b()
    return (
        Figure("cost_rate_over_bound_48", over_bound("cost_rate", 48), at_most=1.45),
        Figure("cost_rate_over_bound_24", over_bound("cost_rate", 24), at_most=1.08),
        Figure("landlord_over_bound_48", over_bound("landlord", 48)),
        Figure("lru_over_bound_48", over_bound("lru", 48)),
        Figure("mean_wait_over_lru_48", mean_wait_over_lru(48), at_most=0.8),
        Figure("mean_wait_over_lru_48_held_out", mean_wait_over_lru(48, HELD_OUT_SEEDS)),
        Figure("mean_wait_over_lru_48_azure", mean_wait_over_lru(48, trace=azure_requests())),
        Figure("two_agents_over_eager", two_agents_over_eager(), at_least=5.0),
        Figure("rare_b_longest_wait_s", rare_wait_s, at_most=promised_s),
    )


def over_bound(policy: str, capacity: int) -> float:
    """Return the load time over the least possible, in pure caching: the mean over the seeds."""
    least = {entry["seed"]: entry["least_load_s"] for entry in bounds(capacity)}
    return geometric_mean(
        simulate(traffic(capacity, seed), POLICIES[policy], machine=Machine(instant=True)).load_s
        / least[seed]
        for seed in SEEDS
    )


def mean_wait_over_lru(
    capacity: int, seeds: Iterable[int] = SEEDS, trace: tuple[Request, ...] | None = None
) -> float:
    """Return the mean wait of the default over that of recency, on the timed machine."""
    asked = requests() if trace is None else trace
    drawn = [drawn_traffic(asked, capacity * GB, seed) for seed in seeds]
    return geometric_mean(
        simulate(one).wait_mean_s / simulate(one, POLICIES["lru"]).wait_mean_s for one in drawn
    )


def bounds(capacity: int) -> list[dict[str, Any]]:
    """Return what is stored of the bounds for a capacity."""
    stored: list[dict[str, Any]] = json.loads(BOUNDS.read_text())
    return [entry for entry in stored if entry["capacity_gb"] == capacity]


@cache
def requests() -> tuple[Request, ...]:
    with gzip.open(TRACES / f"{TRACE}.csv.gz", "rt") as lines:
        return read_trace(lines)


@cache
def azure_requests() -> tuple[Request, ...]:
    """Return the requests of the azure trace, slowed down and dealt to twenty services.

    Its two services leave an eviction policy no choice, so that each is split by the length of
    the prompt, in powers of two.
    """
    with gzip.open(TRACES / "azure_llm_2023.csv.gz", "rt") as lines:
        header, *rows = lines
    column = header.strip().split(",").index("prompt_tokens")
    lengths = [min(13, max(4, int(row.split(",")[column]).bit_length())) for row in rows]
    asked = read_trace([header, *rows])
    return tuple(
        Request(one.at * SLOWER, ServiceId(f"{one.service}-{length}"), one.service_s)
        for one, length in zip(asked, lengths, strict=True)
    )


def traffic(capacity: int, seed: int) -> Traffic:
    return drawn_traffic(requests(), capacity * GB, seed)


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def store_bounds() -> None:
    """Compute all bounds again: `python -m benchmarks.policies`."""
    entries = [
        {
            "trace": TRACE,
            "capacity_gb": capacity,
            "seed": seed,
            "least_load_s": least_load_s(traffic(capacity, seed)),
            "how": HOW,
        }
        for capacity in CAPACITIES
        for seed in SEEDS
    ]
    BOUNDS.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    store_bounds()
