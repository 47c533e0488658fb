"""What a whole daemon tells of itself to those who watch it."""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.daemon.rig import Daemon, Flavour, wait_until
from tests.rig.collector import Collector, collecting, plain

OUT_OF_MEMORY = "cudaMalloc failed: out of memory"
RECOVERY = (
    r'aiproxy_recoveries_total\{action="(\w+)",cause="(\w+)",outcome="(\w+)",service="(\w+)"\}'
)


def numbers(daemon: Daemon) -> Mapping[str, float]:
    """Return what `/metrics` shows, by series."""
    text = daemon.get("/metrics").text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=30
    )
    assert (checked.returncode, checked.stderr) == (0, b"")
    return {name: float(value) for name, value in re.findall(r"^(\w.*) (\S+)$", text, re.M)}


@pytest.mark.promtool
@pytest.mark.mock_binary
def test_metrics_of_good_and_bad_days(new_daemon: Callable[..., Daemon], mock_binary: Path) -> None:
    """A service that serves, and one whose server is out of memory, twice."""
    bad = {"process": {"command": ["sh", "-c", f"echo '{OUT_OF_MEMORY}'; exit 1"]}}
    daemon = new_daemon({"good": served_by(mock_binary), "bad": bad}, runtime="process")
    assert daemon.chat("good").status_code == 200
    assert daemon.chat("bad").status_code == 503
    # Measured twice at least.
    processor = 'container_cpu_time_seconds_total{service="good"}'
    wait_until("its processor time", lambda: processor in daemon.get("/metrics").text)
    seen = numbers(daemon)
    route = 'method="POST",route="/v1/chat/completions"'
    duration = "gen_ai_server_request_duration_seconds_count"
    assert {
        f'http_server_request_duration_seconds_count{{{route},status="200"}}': 1,
        f'http_server_request_duration_seconds_count{{{route},status="503"}}': 1,
        f'{duration}{{model="good",operation="chat",outcome="answered",service="good"}}': 1,
        f'{duration}{{model="bad",operation="chat",outcome="rejected",service="bad"}}': 1,
        'aiproxy_queue_rejected_total{reason="service_failed",service="bad"}': 1,
        'aiproxy_service_starts_total{outcome="ready",service="good"}': 1,
        'aiproxy_service_starts_total{outcome="failed",service="bad"}': 2,
        'aiproxy_service_restarts_total{service="bad"}': 1,
        'aiproxy_failures_total{cause="gpu_oom",service="bad"}': 2,
        'aiproxy_recoveries_total{action="larger",cause="gpu_oom",outcome="failed",'
        'service="bad"}': 1,
        'aiproxy_oom_total{service="bad"}': 2,
        **{
            f'aiproxy_service_start_duration_seconds_count{{phase="{phase}",service="good"}}': 1
            for phase in ("evict", "create", "load", "health")
        },
        'aiproxy_service_state{service="good",state="ready"}': 1,
        'aiproxy_service_state{service="good",state="down"}': 0,
        'aiproxy_service_state{service="bad",state="backoff"}': 1,
    }.items() <= seen.items()


@pytest.mark.promtool
@pytest.mark.mock_binary
def test_metrics_of_recovery(new_daemon: Callable[..., Daemon], mock_binary: Path) -> None:
    """A run that dies of its first request, and one that does not heal."""
    dies = served_by(mock_binary)
    script = 'test -e died || { touch died; export CRASH_AT_TOKEN=1; }; exec "$0"'
    dies["process"]["command"] = ["sh", "-c", script, str(mock_binary)]
    wrong = {"process": {"command": ["sh", "-c", "echo 'error: invalid argument: -x'; exit 1"]}}
    daemon = new_daemon({"dies": dies, "wrong": wrong}, runtime="process")
    assert daemon.chat("dies").status_code == 200
    assert daemon.chat("wrong").status_code == 503
    seen = numbers(daemon)
    found = (re.fullmatch(RECOVERY, name) for name in seen)
    recovered = {match.groups(): seen[match.string] for match in found if match}
    assert recovered == {
        ("restart", "exit", "helped", "dies"): 1,
        ("new_run", "exit", "helped", "dies"): 1,
        ("give_up", "bad_flag", "failed", "wrong"): 1,
    }
    assert seen['aiproxy_retries_total{outcome="answered",service="dies"}'] == 1


PARENT = "0af7651916cd43dd8448eb211c80319c"


def watched(collector: Collector, **more: str) -> dict[str, str]:
    """Return the environment of a daemon that sends all to a collector, soon."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        **more,
    }


def served_by(binary: Path, **settings: str) -> dict[str, Any]:
    variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", **settings}
    return {"process": {"command": [str(binary)], "environment": variables}}


@pytest.mark.mock_binary
def test_collector_gets_traces_metrics_and_logs(
    new_daemon: Callable[..., Daemon], mock_binary: Path
) -> None:
    """A request with its wait and its service, the start that it waited for, and what is said."""
    with collecting() as collector:
        daemon = new_daemon(
            {"good": served_by(mock_binary)}, runtime="process", environment=watched(collector)
        )
        headers = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01", "x-request-id": "mine"}
        assert daemon.chat("good", headers=headers).status_code == 200
        whole = collector.span("chat good")
        start = collector.span("start good")
        assert daemon.stop() == 0
    assert whole.trace_id.hex() == PARENT
    assert whole.parent_span_id.hex() == "b7ad6b7169203331"
    assert whole.kind == Span.SPAN_KIND_SERVER
    told = plain(whole.attributes)
    assert told["aiproxy.request.id"] == "mine"
    assert told["http.response.status_code"] == 200
    assert told["gen_ai.usage.output_tokens"] > 0
    parts = collector.children(whole)
    assert list(parts) == ["queue", "upstream"]
    queue, upstream = parts["queue"], parts["upstream"]
    assert {part.trace_id for part in parts.values()} == {whole.trace_id}
    assert upstream.kind == Span.SPAN_KIND_CLIENT
    times = [
        whole.start_time_unix_nano,
        queue.start_time_unix_nano,
        queue.end_time_unix_nano,
        upstream.start_time_unix_nano,
        upstream.end_time_unix_nano,
        whole.end_time_unix_nano,
    ]
    assert times == sorted(times)
    # The start is a trace of its own, which the wait refers to.
    assert start.trace_id != whole.trace_id
    assert [(link.trace_id, link.span_id) for link in queue.links] == [
        (start.trace_id, start.span_id)
    ]
    assert list(collector.children(start)) == ["evict", "create", "load", "health"]
    [line] = [one for one in collector.lines if one.trace_id == whole.trace_id]
    assert line.span_id == whole.span_id
    assert line.body.string_value.startswith("POST /v1/chat/completions 200")
    assert plain(line.attributes)["aiproxy.service"] == "good"
    assert {metric.name for metric in collector.metrics} >= {
        "gen_ai.server.request.duration",
        "aiproxy.service.starts",
        "aiproxy.service.state",
    }
    for resource in collector.resources:
        assert resource["service.name"] == "aiproxy"
        assert resource["deployment.environment.name"] == "test"


@pytest.mark.mock_binary
@pytest.mark.parametrize("trouble", ["gone", "hangs", "fails"])
def test_a_collector_in_trouble_holds_nobody_up(
    new_daemon: Callable[..., Daemon], mock_binary: Path, trouble: str
) -> None:
    """Requests are answered as before, the trouble is told once, and the end comes soon."""
    with collecting() as collector:
        environment = watched(collector, OTEL_EXPORTER_OTLP_TIMEOUT="300")
        if trouble == "hangs":
            collector.hangs = threading.Event()
        elif trouble == "fails":
            collector.status = 503
        else:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
        daemon = new_daemon(
            {"good": served_by(mock_binary)}, runtime="process", environment=environment
        )
        for _ in range(5):
            assert daemon.chat("good").status_code == 200
        wait_until("the trouble", lambda: daemon.log.count("not sent") >= 3)
        began_at = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began_at < 6.0
    assert daemon.log.count("traces to") == 1


def test_collector_gets_the_output_of_services(
    new_daemon: Callable[..., Daemon], flavour: Flavour
) -> None:
    """Of those that were asked for, with service and run, to the last word of one that fails."""
    with collecting() as collector:
        daemon = new_daemon(
            {
                "quiet": flavour.mock({}),
                "good": flavour.mock({}),
                "bad": flavour.mock({"LOAD_OOM": "1"}),
            },
            **flavour.server,
            environment=watched(collector),
            log={"services": ["go*", "bad", "none"]},
        )
        assert [daemon.chat(name).status_code for name in ("quiet", "good", "bad")] == [
            *(200, 200, 503)
        ]
        words = "error: unable to load model"
        collector.wait_for(lambda: {(3, words), (4, words)} <= outputs(collector).get("bad", set()))
        assert daemon.stop() == 0
    said = outputs(collector)
    assert said.keys() == {"good", "bad"}
    assert (2, "loading model mock") in said["good"]
    assert "'none' is no service as of now" in daemon.log


def outputs(collector: Collector) -> dict[str, set[tuple[int, str]]]:
    """Return the lines that services wrote, each with its run, by service."""
    found: dict[str, set[tuple[int, str]]] = {}
    for line in list(collector.lines):
        told = plain(line.attributes)
        if told.get("aiproxy.origin") == "output":
            said = told["aiproxy.run"], line.body.string_value
            found.setdefault(told["aiproxy.service"], set()).add(said)
    return found
