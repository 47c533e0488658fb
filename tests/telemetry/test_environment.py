"""OpenTelemetry's variables mean what its specification says; what we cannot do is told."""

from pathlib import Path

import pytest

from proxyserver.telemetry.otlp._environment import (
    Batching,
    EnvironmentFault,
    batching_of,
    pairs,
    target_of,
)
from proxyserver.telemetry.otlp._sampling import Sampler, sampler_of
from proxyserver.telemetry.otlp.exporter import resource_of
from proxyserver.wire import TraceParent

BASE = "OTEL_EXPORTER_OTLP_"
HERE = {f"{BASE}ENDPOINT": "http://127.0.0.1:4318/"}


def test_nothing_is_sent_unless_an_endpoint_is_named() -> None:
    """Nor when it is switched off."""
    assert target_of("traces", {}) is None
    assert target_of("traces", {f"{BASE}HEADERS": "a=b"}) is None
    assert target_of("traces", HERE | {"OTEL_SDK_DISABLED": "TRUE"}) is None
    assert target_of("traces", HERE | {"OTEL_TRACES_EXPORTER": "none"}) is None
    assert target_of("logs", HERE | {"OTEL_TRACES_EXPORTER": "none"}) is not None


def test_target_is_read(tmp_path: Path) -> None:
    """A signal's own variable goes before the general one, and its endpoint is taken as it is."""
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    environ = HERE | {
        f"{BASE}HEADERS": "signoz-access-token=a%20key, x=1",
        f"{BASE}TIMEOUT": "2500",
        f"{BASE}COMPRESSION": "gzip",
        f"{BASE}CERTIFICATE": str(authority),
        f"{BASE}LOGS_ENDPOINT": "https://logs.example/take",
        f"{BASE}LOGS_TIMEOUT": "1000",
        f"{BASE}LOGS_COMPRESSION": "none",
    }
    traces, logs = target_of("traces", environ), target_of("logs", environ)
    assert traces is not None
    assert logs is not None
    assert (traces.url, logs.url) == (
        "http://127.0.0.1:4318/v1/traces",
        "https://logs.example/take",
    )
    assert traces.headers == {"signoz-access-token": "a key", "x": "1"}
    assert (traces.timeout_s, logs.timeout_s) == (2.5, 1.0)
    assert (traces.gzip, logs.gzip) == (True, False)
    assert traces.certificate == authority
    assert "a key" not in repr(traces)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (f"{BASE}ENDPOINT", "localhost:4318", "no URL such as"),
        (f"{BASE}PROTOCOL", "grpc", "at port 4318"),
        (f"{BASE}TIMEOUT", "soon", "a number above 0"),
        (f"{BASE}TIMEOUT", "-1", "a number above 0"),
        (f"{BASE}COMPRESSION", "zstd", "`gzip` and `none`"),
        (f"{BASE}CERTIFICATE", "/nowhere/ca.pem", "there is no file"),
        ("OTEL_TRACES_EXPORTER", "console", "`otlp` and `none`"),
    ],
)
def test_what_cannot_be_done_is_told(name: str, value: str, told: str) -> None:
    """With the variable, or its value, and what there is."""
    with pytest.raises(EnvironmentFault, match=told):
        target_of("traces", HERE | {name: value})


def test_batching_is_read() -> None:
    """Milliseconds become seconds; a batch cannot be larger than the queue."""
    default = Batching()
    assert batching_of("BSP", {}, default) == default
    environ = {
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
    }
    assert batching_of("BSP", environ, default) == Batching(100, 10, 0.25)
    assert batching_of("BLRP", environ, default) == default
    with pytest.raises(EnvironmentFault, match="more than the queue"):
        batching_of("BSP", environ | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "101"}, default)


def test_samplers() -> None:
    """By their names; the default keeps all, but what a parent has dropped."""
    kept, dropped = TraceParent(1, 1, True), TraceParent(1, 1, False)
    default = sampler_of({})
    assert [default.keeps(1, parent) for parent in (None, kept, dropped)] == [True, True, False]
    always = sampler_of({"OTEL_TRACES_SAMPLER": "always_on"})
    assert always.keeps(1, dropped)
    never = sampler_of({"OTEL_TRACES_SAMPLER": "parentbased_always_off"})
    assert (never.keeps(1, None), never.keeps(1, kept)) == (False, True)
    tenth = sampler_of({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"})
    assert tenth == Sampler(0.1, by_parent=False)
    ids = range(0, 1 << 64, 1 << 54)
    assert sum(tenth.keeps(trace, None) for trace in ids) == 103
    for name, share in (("jaeger_remote", ""), ("traceidratio", "2"), ("traceidratio", "x")):
        environ = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": share}
        with pytest.raises(EnvironmentFault):
            sampler_of(environ)


def test_resource() -> None:
    """What the environment says goes before what we say."""
    ours = resource_of({}, "1.0")
    assert ours["service.name"] == "aiproxy"
    assert ours["service.version"] == "1.0"
    assert ours["service.instance.id"]
    given = "service.name=mine,host.name=box,team=a%2Cb"
    named = resource_of({"OTEL_RESOURCE_ATTRIBUTES": given}, "1.0")
    assert (named["service.name"], named["host.name"], named["team"]) == ("mine", "box", "a,b")
    both = {"OTEL_RESOURCE_ATTRIBUTES": given, "OTEL_SERVICE_NAME": "other"}
    assert resource_of(both, "1.0")["service.name"] == "other"


def test_pairs_leave_out_what_is_none() -> None:
    """As the specification of baggage has it."""
    assert pairs("a=1,b = 2 ,nothing,=x,c=") == {"a": "1", "b": "2", "c": ""}
