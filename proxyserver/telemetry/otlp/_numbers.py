"""Encodes all numbers for OTLP: the same counters, histograms and gauges that Prometheus reads."""

from collections.abc import Iterable, Iterator

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    ScopeMetrics,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as Encoded

from .._now import Reading
from .._store import Counter, Distribution, Histogram, Values
from ..catalogue import Metric
from ._encode import attribute

_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_S = 1_000_000_000


def encoded_numbers(
    counters: Iterable[Counter],
    histograms: Iterable[Histogram],
    readings: Iterable[Reading],
    *,
    since_ns: int,
    now_ns: int,
) -> Iterator[bytes]:
    """Yield encoded metrics, one by one, so that the loop can breathe in between.

    Args:
        counters: What only grows.
        histograms: The same.
        readings: What is so now.
        since_ns: Since when is counted, in nanoseconds since 1970.
        now_ns: Now.
    """
    for counter in counters:
        if counter.series:
            metric = _of(counter.metric)
            metric.sum.aggregation_temporality = _CUMULATIVE
            metric.sum.is_monotonic = True
            for values, amount in counter.series.items():
                metric.sum.data_points.add(
                    attributes=_labels(counter.metric, values),
                    start_time_unix_nano=since_ns,
                    time_unix_nano=now_ns,
                    as_double=amount,
                )
            yield _alone(metric)
    for histogram in histograms:
        if histogram.series:
            metric = _of(histogram.metric)
            metric.histogram.aggregation_temporality = _CUMULATIVE
            for values, one in histogram.series.items():
                point = metric.histogram.data_points.add(
                    attributes=_labels(histogram.metric, values),
                    start_time_unix_nano=since_ns,
                    time_unix_nano=now_ns,
                    count=sum(one.counts),
                    sum=one.total,
                    bucket_counts=one.counts,
                    explicit_bounds=histogram.metric.buckets,
                )
                _add_exemplars(point, one)
            yield _alone(metric)
    gauges: dict[Metric, Encoded] = {}
    for of, values, number in readings:
        metric = gauges.get(of) or gauges.setdefault(of, _of(of))
        metric.gauge.data_points.add(
            attributes=_labels(of, values), time_unix_nano=now_ns, as_double=number
        )
    yield from map(_alone, gauges.values())


def _of(metric: Metric) -> Encoded:
    return Encoded(name=metric.name, description=metric.meaning, unit=metric.unit)


def _labels(metric: Metric, values: Values) -> list[KeyValue]:
    return [
        attribute(label.attribute, value)
        for label, value in zip(metric.labels, values, strict=True)
    ]


def _add_exemplars(point: HistogramDataPoint, one: Distribution) -> None:
    for seen in one.exemplars.values():
        point.exemplars.add(
            time_unix_nano=round(seen.at * _S),
            as_double=seen.value,
            trace_id=bytes.fromhex(seen.trace),
            span_id=bytes.fromhex(seen.span),
        )


def _alone(metric: Encoded) -> bytes:
    return ScopeMetrics(metrics=[metric]).SerializeToString()
