"""Puts the metrics of many servers into one text, each series with the service that it is of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from proxycore import ServiceId

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UP = "aiproxy_service_metrics_up"
_SERVICE = "service"
_EXPORTED = "exported_service"
"""What a server itself says under our label; Prometheus does the same with labels of targets."""


def relabelled(told: Mapping[ServiceId, bytes | None]) -> bytes:
    """Return one text in Prometheus' format.

    A metric of several servers is told once, as the first of them describes it; those whose type
    is another are left out, for a text may have one only.

    Args:
        told: what each service says; None: nothing.
    """
    up = GaugeMetricFamily(UP, "Whether a service tells its metrics.", labels=[_SERVICE])
    families: dict[str, Metric] = {}
    for service, text in told.items():
        found = None if text is None else _parsed(text)
        up.add_metric([service], float(found is not None))
        seen: set[tuple[object, ...]] = set()
        for family in found or ():
            name = family.name + "_total" * (family.type == "counter")
            merged = families.setdefault(
                name, Metric(family.name, family.documentation, family.type)
            )
            if merged.type == family.type and name != UP:
                merged.samples.extend(_of_service(family, service, seen))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([up, *(one for one in families.values() if one.samples)]))
    return generate_latest(registry)


def _parsed(text: bytes) -> Sequence[Metric] | None:
    """Return what a text says; None: it is none of Prometheus'."""
    try:
        return list(text_string_to_metric_families(text.decode()))
    except Exception:  # of many kinds, for it is made for texts that are good
        return None


def _of_service(
    family: Metric, service: ServiceId, seen: set[tuple[object, ...]]
) -> Iterator[Sample]:
    for sample in family.samples:
        labels = dict(sample.labels)
        if _SERVICE in labels:
            labels[_EXPORTED] = labels[_SERVICE]
        labels[_SERVICE] = service
        series = sample.name, *sorted(labels.items())
        if series not in seen:  # Prometheus wants each once.
            seen.add(series)
            yield sample._replace(labels=labels)


@attrs.frozen(eq=False)
class _Families(Collector):
    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families
