"""The numbers as Prometheus reads them, in its text format or in OpenMetrics', with exemplars."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ._now import Reading
from ._store import Counter, Distribution, Histogram, Values
from .catalogue import Metric


def exposed(
    counters: Iterable[Counter],
    histograms: Iterable[Histogram],
    readings: Iterable[Reading],
    accept: str,
) -> tuple[bytes, str]:
    """Return all numbers in the format that a client accepts, and that format's media type.

    All is read before this returns; what is encoded is a picture of one moment.
    """
    registry = CollectorRegistry()
    registry.register(
        _Picture([*_counters(counters), *_histograms(histograms), *_gauges(readings)])
    )
    ProcessCollector(registry=registry)
    encoder, media_type = choose_encoder(accept)
    return encoder(registry), media_type


@attrs.frozen(eq=False)
class _Picture(Collector):
    families: Sequence[Family]

    def collect(self) -> Iterable[Family]:
        return self.families


def _labels(metric: Metric) -> list[str]:
    return [label.short for label in metric.labels]


def _counters(counters: Iterable[Counter]) -> Iterator[Family]:
    for counter in counters:
        metric = counter.metric
        family = CounterMetricFamily(metric.prometheus, metric.meaning, labels=_labels(metric))
        for values, amount in counter.series.items():
            family.add_metric(values, amount)
        yield family


def _histograms(histograms: Iterable[Histogram]) -> Iterator[Family]:
    for histogram in histograms:
        metric = histogram.metric
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        family = HistogramMetricFamily(metric.prometheus, metric.meaning, labels=_labels(metric))
        for values, one in histogram.series.items():
            family.add_metric(values, list(_buckets(bounds, one)), one.total)
        yield family


def _buckets(
    bounds: Sequence[str], one: Distribution
) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
    for bucket, (bound, count) in enumerate(zip(bounds, accumulate(one.counts), strict=True)):
        seen = one.exemplars.get(bucket)
        if seen is None:
            yield bound, count
        else:
            trace = {"trace_id": seen.trace, "span_id": seen.span}
            yield bound, count, Exemplar(trace, seen.value, seen.at)


def _gauges(readings: Iterable[Reading]) -> Iterator[Family]:
    by_metric: dict[Metric, list[tuple[Values, float]]] = {}
    for metric, values, number in readings:
        by_metric.setdefault(metric, []).append((values, number))
    for metric, rows in by_metric.items():
        family = GaugeMetricFamily(metric.prometheus, metric.meaning, labels=_labels(metric))
        for values, number in rows:
            family.add_metric(values, number)
        yield family
