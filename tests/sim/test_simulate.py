"""The fast simulation drives the real core, and counts right."""

import gzip

import pytest

from proxycore import (
    POLICIES,
    CoreConfig,
    DeviceSpec,
    Placement,
    ServiceId,
    ServiceSpec,
)
from proxycore.sim import Machine, simulate
from proxycore.sim.report import Report, jain, quantile
from proxycore.sim.traffic import GB, GPU, Request, Session, Traffic, drawn_traffic, read_trace
from tests.house.tree import ROOT

CHAT, CODER = ServiceId("chat"), ServiceId("coder")


def two() -> Traffic:
    """Return two services that cannot be held at once, and four requests."""
    services = tuple(
        ServiceSpec(service, (Placement.of([(GPU, 10 * GB)]),), load_s=load_s, concurrent_max=1)
        for service, load_s in ((CHAT, 5.0), (CODER, 20.0))
    )
    requests = (
        Request(0.0, CHAT, 10.0),
        Request(1.0, CHAT, 10.0),
        Request(100.0, CODER, 4.0),
        Request(3700.0, CODER, 4.0),
    )
    return Traffic(CoreConfig((DeviceSpec(GPU, 16 * GB, headroom=0),), services), requests)


def test_a_simulation_counts_what_happened() -> None:
    """Loads, waits and idle memory, by hand."""
    # chat: loads 0-5, serves 5-15 and 15-25, idles 25-100, is gone at 102.
    # coder: loads 102-122, serves 122-126, idles until 3700, serves until 3704.
    share_chat, share_coder = 20 / (20 + 5 + 14), 8 / (8 + 22)
    assert simulate(two()) == Report(
        requests=4,
        starts=2,
        load_s=25.0,
        cold_ratio=0.75,
        wait_mean_s=(5 + 14 + 22 + 0) / 4,
        wait_p95_s=22.0,
        wait_max_s=22.0,
        wait_max_by_service_s={CHAT: 14.0, CODER: 22.0},
        idle_gb_hours=10 * (75 + 3574) / 3600,
        fairness=jain([share_chat, share_coder]),
        refused=0,
    )


def test_pure_caching_takes_no_time() -> None:
    """Only the loads are left."""
    report = simulate(two(), machine=Machine(instant=True))
    assert (report.starts, report.load_s, report.wait_max_s) == (2, 25.0, 0.0)


def test_loads_take_turns() -> None:
    """Two that are wanted at once share one disk."""
    traffic = two().on(24 * GB)
    requests = (Request(0.0, CHAT, 1.0), Request(0.0, CODER, 1.0))
    at_once = Traffic(traffic.config, requests)
    assert simulate(at_once).wait_max_s == 25.0
    assert simulate(at_once, machine=Machine(loads_at_once=2)).wait_max_s == 20.0


def test_sessions_ask_again_when_they_are_answered() -> None:
    """A session is served, thinks, and asks, until its time is over; others come in between."""
    # chat: loads 0-5, serves 5-8, asks again at 10, 15 and 20, and, being busy until 23, not at 25.
    session = Session(CHAT, service_s=3.0, think_s=2.0, begins_at=0.0, ends_at=21.0)
    report = simulate(Traffic(two().config, (Request(12.0, CHAT, 2.0),), (session,)))
    assert (report.requests, report.starts) == (5, 1)
    assert report.wait_max_by_service_s == {CHAT: 5.0}
    assert report.wait_mean_s == (5 + 0 + 1 + 0 + 0) / 5


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_checks_change_nothing(policy: str) -> None:
    """A World looks on while a real trace is served, and objects to nothing."""
    with gzip.open(ROOT / "benchmarks/traces/servegen14_14d_seed1.csv.gz", "rt") as lines:
        requests = read_trace(lines)[:400]
    traffic = drawn_traffic(requests, 24 * GB, seed=1)
    checked = simulate(traffic, POLICIES[policy], checked=True)
    assert checked == simulate(traffic, POLICIES[policy])
    assert checked.requests == 400


def test_a_lone_answer_is_no_loop() -> None:
    """Without requests nothing happens, and nothing divides by nothing."""
    report = simulate(Traffic(two().config, ()))
    assert (report.requests, report.cold_ratio, report.fairness) == (0, 0.0, 1.0)
    assert quantile([], 0.5) == 0.0


def test_progress_is_told() -> None:
    """Shares of the requests, in order, and the end."""
    told: list[float] = []
    simulate(two(), progress=told.append)
    assert told == [0.0, 0.25, 0.5, 0.75, 1.0]
