"""The catalogue of metrics: each is well named, documented, and clean for Prometheus' own check."""

import re
import subprocess

import pytest

from proxyserver.telemetry import catalogue as cat
from proxyserver.telemetry._store import Exemplar
from proxyserver.telemetry.catalogue import CATALOGUE, Kind, Metric
from proxyserver.telemetry.meter import Meter
from proxyserver.telemetry.prometheus import exposed
from tests.house.docs import page

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def row(metric: Metric) -> str:
    """Return what the reference says of a metric."""
    labels = ", ".join(f"`{label.short}`" for label in metric.labels)
    return (
        f"| `{metric.prometheus}` | `{metric.name}` | {metric.kind.value} | {labels} "
        f"| {metric.meaning} |"
    )


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_metric_is_well_formed(metric: Metric) -> None:
    """Buckets grow, and only histograms have some; names are what Prometheus allows."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.prometheus)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)


def test_names_are_unique() -> None:
    """Of metrics in both worlds, and of the labels of each."""
    for names in (
        [metric.name for metric in CATALOGUE],
        [metric.prometheus for metric in CATALOGUE],
        *([label.short for label in metric.labels] for metric in CATALOGUE),
    ):
        assert len(names) == len(set(names))


def test_reference_lists_the_catalogue() -> None:
    """Every metric has its row, and no row is of something else."""
    rows = re.findall(r"^\| `.*` \| `.*` \| (?:counter|gauge|histogram) .*$", page(PAGE), re.M)
    assert rows == [row(metric) for metric in CATALOGUE]


PAGE = "reference/metrics.md"


def filled() -> tuple[Meter, list[tuple[Metric, tuple[str, ...], float]]]:
    """Return numbers of every metric, with values that need quoting."""
    meter = Meter(lambda service: None, lambda service: None)
    now = []
    for metric in CATALOGUE:
        values = tuple(f'a "{label.short}"\\\n' for label in metric.labels)
        if metric.kind is Kind.COUNTER:
            meter.count(metric, *values, amount=3)
        elif metric.kind is Kind.HISTOGRAM:
            for value in (0.0, metric.buckets[0], metric.buckets[-1] * 2):
                example = Exemplar("ab" * 16, "cd" * 8, value, 1_800_000_000.0)
                [histogram] = [one for one in meter.histograms if one.metric is metric]
                histogram.of(*values).add(value, example)
        else:
            now.append((metric, values, 1.5))
    return meter, now


@pytest.mark.promtool
def test_promtool_finds_nothing() -> None:
    """Prometheus' own linter has no complaint about any metric."""
    meter, now = filled()
    numbers, media_type = exposed(meter.counters, meter.histograms, now, "")
    assert media_type.startswith("text/plain; version=")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=numbers, capture_output=True, timeout=30
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_histogram_is_cumulative() -> None:
    """Each bucket counts the smaller ones as well, its bound included; the sum is exact."""
    meter, _ = filled()
    text = exposed(meter.counters, meter.histograms, (), "")[0].decode()
    name = cat.QUEUE_WAIT.prometheus
    counts = re.findall(rf'^{name}_bucket{{le="(\S+)",.*}} (\S+)$', text, re.M)
    bounds = cat.QUEUE_WAIT.buckets
    assert [float(bound) for bound, _ in counts] == [*bounds, float("inf")]
    assert [float(count) for _, count in counts] == [2.0] * len(bounds) + [3.0]
    assert f"{name}_sum" in text


def test_exemplars_are_shown_where_they_are_understood() -> None:
    """In OpenMetrics alone: the older format has no place for them."""
    meter, _ = filled()
    text = exposed(meter.counters, meter.histograms, (), OPENMETRICS)[0].decode()
    assert f'trace_id="{"ab" * 16}"' in text
    assert text.endswith("# EOF\n")
    assert "trace_id" not in exposed(meter.counters, meter.histograms, (), "")[0].decode()
