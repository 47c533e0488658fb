"""Encodes the spans of a request and of a start, once each is over and all of it is known.

Nothing is made while a request is under way: its record has every point in time.
"""

import random
from collections.abc import Iterable, Mapping

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from proxyserver.http import Outcome, RequestRecord
from proxyserver.http._route_names import route_of
from proxyserver.http._trace import Trace
from proxyserver.wire import TraceParent

from .. import names
from .._operations import operation_of
from .._store import OTHER
from ..starts import Start
from ._encode import Value, attributes

_S = 1_000_000_000
_LOST = frozenset((Outcome.BROKEN, Outcome.CUT, Outcome.BUG))


def new_id(bits: int) -> int:
    """Return an id for a trace (128 bits) or a span (64 bits); 0 is none."""
    return random.getrandbits(bits) or 1


def encoded_request(
    record: RequestRecord, trace: Trace, ended_ns: int, starts: Iterable[TraceParent]
) -> bytes:
    """Return the spans of a request: the whole, its wait, and what the service took.

    Args:
        record: What there is to say.
        trace: Its place.
        ended_ns: When it ended, in nanoseconds since 1970.
        starts: The starts that it waited for.
    """
    began_ns = ended_ns - round(record.duration_s * _S)
    scope = ScopeSpans()
    whole = _add(scope, trace.id, trace.span, _name(record), began_ns, ended_ns)
    whole.kind = Span.SPAN_KIND_SERVER
    if trace.parent is not None:
        whole.parent_span_id = trace.parent.span.to_bytes(8, "big")
        whole.flags = 0x300  # The parent is of another process, and that is known.
    whole.attributes.extend(attributes(_of_request(record)))
    _judge(whole, record)
    if record.first_byte_s is not None:
        _tell(whole, names.FIRST_BYTE, began_ns + round(record.first_byte_s * _S))
    if record.outcome is Outcome.CLIENT_GONE:
        _tell(whole, names.CANCEL, ended_ns)
    if record.service is None or record.asked_s is None:
        return scope.SerializeToString()
    asked_ns = began_ns + round(record.asked_s * _S)
    admitted_ns = asked_ns + round(record.waited_s * _S)
    queue = _add(scope, trace.id, new_id(64), names.QUEUE, asked_ns, admitted_ns)
    queue.parent_span_id = whole.span_id
    queue.kind = Span.SPAN_KIND_INTERNAL
    queue.attributes.extend(attributes({names.SERVICE.attribute: record.service}))
    for start in starts:
        queue.links.add(trace_id=start.trace.to_bytes(16, "big"), span_id=_id(start.span))
    if record.run is not None:
        upstream = _add(scope, trace.id, trace.upstream, names.UPSTREAM, admitted_ns, ended_ns)
        upstream.parent_span_id = whole.span_id
        upstream.kind = Span.SPAN_KIND_CLIENT
        upstream.attributes.extend(attributes(_of_upstream(record)))
        _judge(upstream, record)
    return scope.SerializeToString()


def encoded_start(start: Start, own: TraceParent, ended_ns: int, why: str) -> bytes:
    """Return the spans of a start: the whole, and each phase."""
    scope = ScopeSpans()
    kind = "wake" if start.wakes else "start"

    def ns(at: float) -> int:
        return ended_ns - round((start.ended_at - at) * _S)

    whole = _add(
        scope, own.trace, own.span, f"{kind} {start.service}", ns(start.began_at), ended_ns
    )
    whole.kind = Span.SPAN_KIND_INTERNAL
    told: Mapping[str, Value | None] = {
        names.SERVICE.attribute: start.service,
        names.RUN: start.run,
    }
    whole.attributes.extend(attributes(told))
    if not start.ready:
        whole.status.code = Status.STATUS_CODE_ERROR
        whole.status.message = why
    for phase in start.phases:
        part = _add(scope, own.trace, new_id(64), phase.name, ns(phase.from_at), ns(phase.to_at))
        part.parent_span_id = whole.span_id
        part.kind = Span.SPAN_KIND_INTERNAL
    return scope.SerializeToString()


def _add(scope: ScopeSpans, trace: int, span: int, name: str, from_ns: int, to_ns: int) -> Span:
    return scope.spans.add(
        trace_id=trace.to_bytes(16, "big"),
        span_id=_id(span),
        name=name,
        start_time_unix_nano=from_ns,
        end_time_unix_nano=max(from_ns, to_ns),
    )


def _id(span: int) -> bytes:
    return span.to_bytes(8, "big")


def _tell(span: Span, event: str, at_ns: int) -> None:
    span.events.add(name=event, time_unix_nano=at_ns)


def _name(record: RequestRecord) -> str:
    operation = operation_of(record.path)
    if record.service is None or operation == OTHER:
        return f"{record.method} {route_of(record.path)}"
    return f"{operation} {record.model or record.service}"


def _of_request(record: RequestRecord) -> Mapping[str, Value | None]:
    told: dict[str, Value | None] = {
        names.METHOD.attribute: record.method,
        names.ROUTE.attribute: route_of(record.path),
        names.URL_PATH: record.path,
        names.STATUS.attribute: record.status,
        names.REQUEST: record.request_id,
        names.REQUEST_SIZE: record.bytes_in,
        names.RESPONSE_SIZE: record.bytes_out,
    }
    if record.service is None:
        return told
    told |= {
        names.SERVICE.attribute: record.service,
        names.RUN: record.run,
        names.OPERATION.attribute: operation_of(record.path),
        names.MODEL.attribute: record.model or record.service,
    }
    if (usage := record.usage) is not None:
        told |= {
            names.RESPONSE_MODEL: usage.model,
            names.INPUT_TOKENS: usage.input,
            names.OUTPUT_TOKENS: usage.output,
        }
    return told


def _of_upstream(record: RequestRecord) -> Mapping[str, Value | None]:
    return {
        names.SERVICE.attribute: record.service,
        names.RUN: record.run,
        names.METHOD.attribute: record.method,
        names.STATUS.attribute: record.status,
    }


def _judge(span: Span, record: RequestRecord) -> None:
    """Say whether it went wrong: by our fault or the service's, not by the client's."""
    failed = record.outcome in _LOST or (record.status or 0) >= 500
    if not failed:
        return
    span.status.code = Status.STATUS_CODE_ERROR
    kind = record.outcome.value if record.outcome in _LOST else str(record.status)
    span.attributes.extend(attributes({names.ERROR_TYPE: kind}))
    if record.error is not None:
        span.status.message = str(record.error)
