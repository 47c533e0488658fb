"""What a whole daemon tells of itself to those who watch it."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.daemon.rig import Daemon

OUT_OF_MEMORY = "cudaMalloc failed: out of memory"


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
    variables = {"HOST": "127.0.0.1", "PORT": "${PORT}"}
    good = {"process": {"command": [str(mock_binary)], "environment": variables}}
    bad = {"process": {"command": ["sh", "-c", f"echo '{OUT_OF_MEMORY}'; exit 1"]}}
    daemon = new_daemon({"good": good, "bad": bad}, runtime="process")
    assert daemon.chat("good").status_code == 200
    assert daemon.chat("bad").status_code == 503
    seen = numbers(daemon)
    route = 'method="POST",route="/v1/chat/completions"'
    duration = "gen_ai_server_request_duration_seconds_count"
    assert {
        f'http_server_request_duration_seconds_count{{{route},status="200"}}': 1,
        f'http_server_request_duration_seconds_count{{{route},status="503"}}': 1,
        f'{duration}{{operation="chat",outcome="answered",service="good"}}': 1,
        f'{duration}{{operation="chat",outcome="rejected",service="bad"}}': 1,
        'aiproxy_queue_rejected_total{reason="service_failed",service="bad"}': 1,
        'aiproxy_service_starts_total{outcome="ready",service="good"}': 1,
        'aiproxy_service_starts_total{outcome="failed",service="bad"}': 2,
        'aiproxy_service_restarts_total{service="bad"}': 1,
        'aiproxy_failures_total{cause="gpu_oom",service="bad"}': 2,
        'aiproxy_recoveries_total{cause="gpu_oom",outcome="failed",service="bad"}': 1,
        'aiproxy_oom_total{service="bad"}': 2,
        **{
            f'aiproxy_service_start_duration_seconds_count{{phase="{phase}",service="good"}}': 1
            for phase in ("evict", "create", "load", "health")
        },
        'aiproxy_service_state{service="good",state="ready"}': 1,
        'aiproxy_service_state{service="good",state="down"}': 0,
        'aiproxy_service_state{service="bad",state="backoff"}': 1,
    }.items() <= seen.items()
