"""Reads what is said of our metrics by dashboards and alerts: of Grafana, Prometheus and SigNoz."""

import re
from collections.abc import Iterator
from typing import Any

import attrs

from proxycore import State
from proxyserver.telemetry import names
from proxyserver.telemetry.catalogue import CATALOGUE, Kind, Metric
from proxyserver.telemetry.names import Label
from tests.house.docs import page

_TARGET = frozenset(("instance", "job"))
"""Labels that Prometheus itself adds."""
_WORDS = frozenset(
    "absent by histogram_quantile increase max offset on or rate sum unless without".split()
)
"""All of PromQL that we use."""
_LABELS = {value.short: value for value in vars(names).values() if isinstance(value, Label)}
_OF_HISTOGRAM = ("bucket", "count", "sum")
_STRING = r'"(?:[^"\\]|\\.)*"'
_MATCHER = re.compile(rf"\s*(\w+)\s*(=~|!~|=|!=)\s*({_STRING})\s*")
_ROW = re.compile(r"^\| `(\w+)` \| `[\w.]+` \| (.*) \|$", re.M)


@attrs.frozen
class Dialect:
    """How one of the two worlds spells our names."""

    metrics: dict[str, Metric]
    labels: dict[str, Label]


PROMETHEUS = Dialect(
    {
        name: metric
        for metric in CATALOGUE
        for name in (
            [f"{metric.prometheus}_{part}" for part in _OF_HISTOGRAM]
            if metric.kind is Kind.HISTOGRAM
            else [metric.prometheus]
        )
    },
    _LABELS,
)
OTLP = Dialect(
    {
        name: metric
        for metric in CATALOGUE
        for name in (
            # SigNoz keeps the parts of a histogram as metrics of these names.
            [f"{metric.name}.{part}" for part in _OF_HISTOGRAM]
            if metric.kind is Kind.HISTOGRAM
            else [metric.name]
        )
    },
    {label.attribute: label for label in _LABELS.values()},
)


def values_of(label: Label) -> frozenset[str]:
    """Return the values that the reference lists for a label."""
    if label is names.STATE:
        return frozenset(state.value for state in State)
    rows = dict(_ROW.findall(page("reference/metrics.md")))
    return frozenset(re.findall(r"`(\w+)`", rows[label.short]))


def faults_of_promql(query: str) -> Iterator[str]:
    """Yield what a query names that is not there."""
    used: set[Label] = set()
    metrics: list[Metric] = []
    rest = re.sub(r"\[[^\]]*\]|offset \w+", " ", query)

    def matchers(found: re.Match[str]) -> str:
        for part in re.findall(rf"(?:[^,\"]|{_STRING})+", found.group(1)):
            match = _MATCHER.fullmatch(part)
            assert match, f"not understood: {part!r} in {query}"
            label, _, value = match.groups()
            if label not in _TARGET:
                problems.extend(_use(label, used, PROMETHEUS))
                problems.extend(_value(label, value.strip('"'), PROMETHEUS))
        return " "

    def grouping(found: re.Match[str]) -> str:
        for label in re.findall(r"\w+", found.group(1)):
            if label not in _TARGET and label != "le":
                problems.extend(_use(label, used, PROMETHEUS))
        return " "

    problems: list[str] = []
    rest = re.sub(rf"\{{((?:[^{{}}\"]|{_STRING})*)\}}", matchers, rest)
    rest = re.sub(r"\b(?:by|on|without) \(([^)]*)\)", grouping, rest)
    for name in re.findall(r"[A-Za-z_:][\w:]*", rest):
        if name in PROMETHEUS.metrics:
            metrics.append(PROMETHEUS.metrics[name])
        elif name not in _WORDS and name != "up":
            problems.append(f"no metric {name}")
    yield from problems
    yield from _apart(metrics, used)


def faults_of_builder(spec: dict[str, Any]) -> Iterator[str]:
    """Yield what a query of SigNoz's builder names that is not there."""
    used: set[Label] = set()
    metrics = []
    for aggregation in spec["aggregations"]:
        name = aggregation["metricName"]
        if name in OTLP.metrics:
            metrics.append(OTLP.metrics[name])
            counts = name.endswith(".count") or OTLP.metrics[name].kind is Kind.COUNTER
            if counts and aggregation["timeAggregation"] not in ("rate", "increase"):
                yield f"a counter that is not derived: {name}"
        else:
            yield f"no metric {name}"
    for group in spec["groupBy"]:
        yield from _use(group["name"], used, OTLP)
    for part in filter(None, spec["filter"]["expression"].split(" AND ")):
        match = re.fullmatch(r"(\S+) (=|!=|IN|REGEXP) (?:'(.*)'|\$service)", part)
        assert match, f"not understood: {part!r}"
        yield from _use(match[1], used, OTLP)
        yield from _value(match[1], match[3] or "", OTLP)
    yield from _apart(metrics, used)
    told = re.findall(r"{{([^}]+)}}", spec["legend"])
    yield from (f"{name} is in the legend alone" for name in told if name not in _grouped(spec))


def _grouped(spec: dict[str, Any]) -> list[str]:
    return [group["name"] for group in spec["groupBy"]]


def _use(name: str, used: set[Label], dialect: Dialect) -> Iterator[str]:
    if name in dialect.labels:
        used.add(dialect.labels[name])
    else:
        yield f"no label {name}"


def _value(name: str, value: str, dialect: Dialect) -> Iterator[str]:
    """Yield values that a label never has, where all are listed."""
    if name not in dialect.labels or not re.fullmatch(r"\^?[a-z_|]+\$?", value):
        return
    known = values_of(dialect.labels[name])
    yield from (
        f"{name} is never {one}" for one in value.strip("^$").split("|") if one not in known
    )


def _apart(metrics: list[Metric], used: set[Label]) -> Iterator[str]:
    """Yield labels that a metric of the query lacks."""
    for metric in metrics:
        for label in used - set(metric.labels):
            yield f"{metric.name} has no label {label.short}"
