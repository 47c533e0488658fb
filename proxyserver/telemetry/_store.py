"""Numbers that only grow: counters and histograms by label, cheap to add to and bounded in number.

They are plain dictionaries: a request adds to some ten of them, and Prometheus and OpenTelemetry
both read them out when they are asked, or when it is time, so that neither costs a request more.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import TypeAlias

import attrs

from .catalogue import Metric

SERIES_MAX = 2000
"""Of one metric.  What comes beyond is added up under OTHER: names of services, models and causes
come from the configuration and from tables of ours, so that nobody should ever see it."""
OTHER = "_other"

Values: TypeAlias = tuple[str, ...]
"""The values of a metric's labels, in its order."""


@attrs.frozen
class Exemplar:
    """One case among those that were counted, with its trace."""

    trace: str
    span: str
    value: float
    at: float
    """By the clock of the world, in seconds since 1970."""


class Counter:
    """Counts, by label."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[Values, float] = {}

    def add(self, values: Values, amount: float = 1.0) -> None:
        """Add to a series."""
        series = self.series
        if values in series:
            series[values] += amount
        else:
            values = _bounded(series, values)
            series[values] = series.get(values, 0.0) + amount


class Distribution:
    """How often values of each size came, in one series of a histogram."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many fell into each bucket, not counting those of smaller ones; the last is for all
        that is larger than the largest bound."""
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """By bucket, the last one."""

    def add(self, value: float, exemplar: Exemplar | None = None) -> None:
        """Count a value."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if exemplar is not None:
            self.exemplars[bucket] = exemplar


class Histogram:
    """Counts values by their size, by label."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[Values, Distribution] = {}

    def of(self, *values: str) -> Distribution:
        """Return a series, to add to."""
        one = self.series.get(values)
        if one is None:
            one = self.series.setdefault(
                _bounded(self.series, values), Distribution(self.metric.buckets)
            )
        return one


def _bounded(series: Collection[Values], values: Values) -> Values:
    return values if len(series) < SERIES_MAX else (OTHER,) * len(values)
