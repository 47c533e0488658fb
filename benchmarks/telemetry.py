"""What telemetry costs: numbers for Prometheus, statistics of use, traces for a collector."""

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from proxycore import RunId, ServiceId
from proxyserver.http import Outcome, RequestRecord
from proxyserver.telemetry.meter import Meter
from proxyserver.wire import Usage
from tests.daemon.rig import Daemon

from ._ground import ground
from ._harness import Figure
from ._load import Upstream
from ._targets import MODEL, Runner, Target
from .datapath import requests

RECORDS = 1_000_000
SERVICES = 20


def measure() -> Sequence[Figure]:
    """Return the figures: daemons that tell nothing, the numbers, statistics too, traces."""
    load_average, *_ = os.getloadavg()
    print(f"load average before: {load_average:.1f} (quiet: below 0.3)")
    grown_mib = grown_by_requests()
    with ground(_RUNNERS) as on:
        for _ in range(2):
            requests(on, list(_RUNNERS))
        median, over = on.samples.median, on.samples.over
        for name in _RUNNERS:
            print(
                f"{name:12} {median(name, 'request_us'):8.1f} us/request"
                f" {median(name, 'rate'):8.0f} requests/s"
            )
        return (
            Figure(
                "prometheus_us_per_request",
                median("off", "request_us") - median("none", "request_us"),
                at_most=10.0,
            ),
            Figure(
                "statistics_us_per_request",
                median("kept", "request_us") - median("off", "request_us"),
            ),
            Figure("sampled10_over_off_requests", over("sampled10", "off", "rate"), at_least=0.9),
            Figure(
                "full_us_per_request",
                median("full", "request_us") - median("off", "request_us"),
                at_most=80.0,
            ),
            Figure("off_over_none_requests", over("off", "none", "rate"), at_least=0.95),
            Figure("extra_rss_mib_1m_requests", grown_mib, at_most=1.0),
        )


def grown_by_requests() -> float:
    """Return by how many MiB the process grows by a million requests, each unlike the others."""
    meter = Meter(lambda service: None, lambda service: None)
    _tell(meter, 10_000, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _tell(meter, RECORDS, 10_000)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _tell(meter: Meter, count: int, first: int) -> None:
    for number in range(first, first + count):
        service = ServiceId(f"service {number % SERVICES}")
        known = number % 3
        meter.request(
            RequestRecord(
                f"{number:032x}",
                "POST",
                "/v1/chat/completions" if known else f"/unknown/{number}",
                service if known else None,
                RunId(number) if known else None,
                200 if known else 404,
                0.001,
                0.1,
                1.0 + number % 7,
                100,
                1000,
                Outcome.ANSWERED,
                None,
                model=f"model {number % SERVICES}",
                streamed=True,
                first_token_s=0.2,
                usage=Usage(number % 4096, number % 512, model=f"told {number}"),
                asked_s=0.0001,
                sent_s=0.0012,
            )
        )


@contextmanager
def _daemon(
    name: str, module: str, told: Mapping[str, str], upstream: Upstream, folder: Path, days: int = 0
) -> Iterator[Target]:
    server = {"port": 0, "state_dir": f"{folder}/state", "ram": "2GiB", "headroom": 0}
    server["usage_days"] = days
    services = {MODEL: {"external": {"url": f"http://127.0.0.1:{upstream.port}", "health": "/"}}}
    # The upstream takes whatever is posted to it, so that it does for a collector.
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{upstream.port}"}
    only_traces = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    environment = {**collector, **only_traces, **told} if told else {}
    daemon = Daemon(folder, {"server": server, "services": services}, environment, module=module)
    try:
        daemon.start()
        yield Target(name, int(daemon.url.rpartition(":")[2]), daemon.pid)
    finally:
        daemon.remove()


_QUEUE = {"OTEL_BSP_MAX_QUEUE_SIZE": "65536"}
_TENTH = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
_RUNNERS: Mapping[str, Runner] = {
    "none": partial(_daemon, "none", "benchmarks._untold", {}),
    "off": partial(_daemon, "off", "proxyserver", {}),
    "kept": partial(_daemon, "kept", "proxyserver", {}, days=400),
    "sampled10": partial(_daemon, "sampled10", "proxyserver", _QUEUE | _TENTH),
    "full": partial(_daemon, "full", "proxyserver", _QUEUE),
}
