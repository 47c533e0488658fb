"""The spans of requests, which are encoded by hand for the sake of time, against their messages."""

import attrs
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from proxycore import RunId, ServiceId
from proxyserver.http import Outcome, RequestRecord
from proxyserver.http._trace import Trace
from proxyserver.telemetry.otlp._encode import varint
from proxyserver.telemetry.otlp._spans import RequestSpans
from proxyserver.wire import TraceParent, Usage
from tests.rig.collector import plain
from tests.telemetry.test_usage import record

S = 1_000_000_000
ENDED = 1_795_780_800 * S
COUNTS = st.integers(0, 2**62)
TIMES = st.none() | st.floats(0, 1e5)
IDS = st.integers(1, 2**64 - 1)
USAGES = st.builds(
    Usage,
    input=st.none() | COUNTS,
    output=st.none() | COUNTS,
    model=st.none() | st.text(max_size=200),
)
RECORDS = st.builds(
    lambda **values: attrs.evolve(record(), **values),
    request_id=st.text(max_size=200),
    service=st.none() | st.just(ServiceId("chat")),
    run=st.none() | st.just(RunId(3)),
    outcome=st.sampled_from(Outcome),
    status=st.none() | st.integers(200, 599),
    duration_s=st.floats(0, 1e5),
    waited_s=st.floats(0, 1e5),
    asked_s=TIMES,
    first_byte_s=TIMES,
    bytes_in=COUNTS,
    bytes_out=COUNTS,
    usage=st.none() | USAGES,
    retries=st.integers(0, 1),
    error=st.none() | st.builds(ValueError, st.text(max_size=20)),
)
PARENTS = st.builds(TraceParent, st.integers(1, 2**128 - 1), IDS, st.booleans())
TRACES = st.builds(Trace, st.integers(1, 2**128 - 1), IDS, IDS, st.just(True), st.none() | PARENTS)


def encoded(of: RequestRecord, trace: Trace, *starts: TraceParent) -> list[Span]:
    items = ScopeSpans()
    items.ParseFromString(RequestSpans().encoded(of, trace, ENDED, starts))
    return list(items.spans)


def status_of(of: RequestRecord) -> tuple[Status, dict[str, str]]:
    if of.outcome in (Outcome.BROKEN, Outcome.CUT, Outcome.BUG):
        kind = of.outcome.value
    elif (of.status or 0) >= 500:
        kind = str(of.status)
    else:
        return Status(), {}
    message = "" if of.error is None else str(of.error)
    return Status(code=Status.STATUS_CODE_ERROR, message=message), {"error.type": kind}


@given(RECORDS, TRACES, st.lists(PARENTS, max_size=2))
@example(record(request_id="x" * 1000), Trace(1, 2, 3, True), [])
def test_a_request_is_told_as_it_was(
    of: RequestRecord, trace: Trace, starts: list[TraceParent]
) -> None:
    """Each span with its place, its times, what is its own, and what went wrong."""
    whole, *parts = encoded(of, trace, *starts)
    began = ENDED - round(of.duration_s * S)
    status, error = status_of(of)
    assert whole.trace_id == trace.id.to_bytes(16, "big")
    assert whole.span_id == trace.span.to_bytes(8, "big")
    parent = b"" if trace.parent is None else trace.parent.span.to_bytes(8, "big")
    assert (whole.parent_span_id, whole.flags) == (parent, 0x300 if parent else 0)
    assert (whole.start_time_unix_nano, whole.end_time_unix_nano) == (began, ENDED)
    assert (whole.kind, whole.status) == (Span.SPAN_KIND_SERVER, status)
    told = plain(whole.attributes)
    usage = of.usage or Usage()
    own = {
        "aiproxy.request.id": of.request_id,
        "http.request.body.size": of.bytes_in,
        "http.response.body.size": of.bytes_out,
        "gen_ai.response.model": usage.model,
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
    }
    assert {name: told.get(name) for name in own} == own
    assert {name: told[name] for name in told if name == "error.type"} == error
    events = []
    if of.first_byte_s is not None:
        events.append(began + round(of.first_byte_s * S))
    if of.retries and of.asked_s is not None:
        events.append(began + round(of.asked_s * S))
    if of.outcome is Outcome.CLIENT_GONE:
        events.append(ENDED)
    assert [event.time_unix_nano for event in whole.events] == events
    assert all(event.name for event in whole.events)
    if of.service is None or of.asked_s is None:
        assert parts == []
        return
    queue, *upstreams = parts
    asked = began + round(of.asked_s * S)
    admitted = asked + round(of.waited_s * S)
    assert (queue.start_time_unix_nano, queue.end_time_unix_nano) == (asked, admitted)
    assert [(link.trace_id, link.span_id) for link in queue.links] == [
        (start.trace.to_bytes(16, "big"), start.span.to_bytes(8, "big")) for start in starts
    ]
    assert len(upstreams) == (of.run is not None)
    for upstream in upstreams:
        assert upstream.span_id == trace.upstream.to_bytes(8, "big")
        assert upstream.end_time_unix_nano == max(ENDED, admitted)
        assert (upstream.kind, upstream.status) == (Span.SPAN_KIND_CLIENT, status)
    for part in parts:
        assert (part.trace_id, part.parent_span_id) == (whole.trace_id, whole.span_id)


def test_half_a_character_is_replaced() -> None:
    """Servers escape in JSON what they like."""
    [whole, *_] = encoded(record(usage=Usage(model="a\ud800b")), Trace(1, 2, 3, True))
    assert plain(whole.attributes)["gen_ai.response.model"] == "a?b"


@given(st.integers(0, 2**63 - 1))
@example(0x7F)
@example(0x80)
@example(0x3FFF)
@example(0x4000)
def test_a_number_is_encoded_as_by_its_message(number: int) -> None:
    assert b"\x18" + varint(number) == AnyValue(int_value=number).SerializeToString()
