"""Encodes the spans of a request and of a start, once each is over and all of it is known.

Nothing is made while a request is under way: its record has every point in time.
"""

import random
from collections.abc import Iterable, Mapping

import attrs
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxyserver.http import Outcome, RequestRecord
from proxyserver.http._route_names import route_of
from proxyserver.http._trace import Trace
from proxyserver.wire import TraceParent

from .. import names
from .._kinds import Kinds, operation
from .._store import OTHER
from ..starts import Start
from ._encode import Value, attributes, field

_S = 1_000_000_000
_SPANS = 2
"""The field of ScopeSpans."""
_PARENT_IS_REMOTE = 0x300
"""That the parent is of another process, and that this is known (SpanFlags)."""
_LOST = frozenset((Outcome.BROKEN, Outcome.CUT, Outcome.BUG))


def new_id(bits: int) -> int:
    """Return an id for a trace (128 bits) or a span (64 bits); 0 is none."""
    return random.getrandbits(bits) or 1


@attrs.frozen(eq=False)
class _Kind:
    """What the spans of many requests have in common, encoded."""

    whole: bytes
    queue: bytes
    upstream: bytes


class RequestSpans:
    """Encodes the spans of requests: the whole, its wait, and what the service took.

    Most of it is the same from request to request, and kept encoded: that halves the time.
    """

    def __init__(self) -> None:
        self._kinds = Kinds(_kind_of)

    def encoded(
        self, record: RequestRecord, trace: Trace, ended_ns: int, starts: Iterable[TraceParent]
    ) -> bytes:
        """Return the spans of a request.

        Args:
            record: What there is to say.
            trace: Its place.
            ended_ns: When it ended, in nanoseconds since 1970.
            starts: The starts that it waited for.
        """
        kind = self._kinds.of(record)
        began_ns = ended_ns - round(record.duration_s * _S)
        whole = _span(trace.id, trace.span, began_ns, ended_ns)
        if trace.parent is not None:
            whole.parent_span_id = _id(trace.parent.span)
            whole.flags = _PARENT_IS_REMOTE
        whole.attributes.extend(attributes(_of_request(record)))
        _judge(whole, record)
        if record.first_byte_s is not None:
            _tell(whole, names.FIRST_BYTE, began_ns + round(record.first_byte_s * _S))
        if record.retries and record.asked_s is not None:
            _tell(whole, names.RETRY, began_ns + round(record.asked_s * _S))
        if record.outcome is Outcome.CLIENT_GONE:
            _tell(whole, names.CANCEL, ended_ns)
        encoded = _item(whole, kind.whole)
        if record.service is None or record.asked_s is None:
            return encoded
        asked_ns = began_ns + round(record.asked_s * _S)
        admitted_ns = asked_ns + round(record.waited_s * _S)
        queue = _span(trace.id, new_id(64), asked_ns, admitted_ns, parent=trace.span)
        for start in starts:
            queue.links.add(trace_id=start.trace.to_bytes(16, "big"), span_id=_id(start.span))
        encoded += _item(queue, kind.queue)
        if record.run is not None:
            upstream = _span(trace.id, trace.upstream, admitted_ns, ended_ns, parent=trace.span)
            _judge(upstream, record)
            encoded += _item(upstream, kind.upstream)
        return encoded


def _kind_of(record: RequestRecord) -> _Kind:
    service: dict[str, Value | None] = {
        names.SERVICE.attribute: record.service,
        names.RUN: record.run,
    }
    http: dict[str, Value | None] = {
        names.METHOD.attribute: record.method,
        names.STATUS.attribute: record.status,
    }
    whole = http | {names.ROUTE.attribute: route_of(record.path), names.URL_PATH: record.path}
    if record.service is not None:
        whole |= service | {
            names.OPERATION.attribute: operation(record.path),
            names.MODEL.attribute: record.model or record.service,
        }
    return _Kind(
        _same(_name(record), Span.SPAN_KIND_SERVER, whole),
        _same(names.QUEUE, Span.SPAN_KIND_INTERNAL, {names.SERVICE.attribute: record.service}),
        _same(names.UPSTREAM, Span.SPAN_KIND_CLIENT, service | http),
    )


def _same(name: str, kind: Span.SpanKind.ValueType, told: Mapping[str, Value | None]) -> bytes:
    return Span(name=name, kind=kind, attributes=attributes(told)).SerializeToString()


def _item(span: Span, same: bytes) -> bytes:
    """Return a span as an encoded scope has it: the concatenation of two is their merge."""
    return field(_SPANS, span.SerializeToString() + same)


def encoded_start(start: Start, own: TraceParent, ended_ns: int, why: str) -> bytes:
    """Return the spans of a start: the whole, and each phase."""

    def ns(at: float) -> int:
        return ended_ns - round((start.ended_at - at) * _S)

    name = f"{'wake' if start.wakes else 'start'} {start.service}"
    told: dict[str, Value | None] = {
        names.SERVICE.attribute: start.service,
        names.RUN: start.run,
    }
    whole = _span(own.trace, own.span, ns(start.began_at), ended_ns)
    if not start.ready:
        whole.status.code = Status.STATUS_CODE_ERROR
        whole.status.message = why
    encoded = _item(whole, _same(name, Span.SPAN_KIND_INTERNAL, told))
    for phase in start.phases:
        part = _span(own.trace, new_id(64), ns(phase.from_at), ns(phase.to_at), parent=own.span)
        encoded += _item(part, _same(phase.name, Span.SPAN_KIND_INTERNAL, {}))
    return encoded


def _span(trace: int, span: int, from_ns: int, to_ns: int, *, parent: int | None = None) -> Span:
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=_id(span),
        parent_span_id=b"" if parent is None else _id(parent),
        start_time_unix_nano=from_ns,
        end_time_unix_nano=max(from_ns, to_ns),
    )


def _id(span: int) -> bytes:
    return span.to_bytes(8, "big")


def _tell(span: Span, event: str, at_ns: int) -> None:
    span.events.add(name=event, time_unix_nano=at_ns)


def _name(record: RequestRecord) -> str:
    asked = operation(record.path)
    if record.service is None or asked == OTHER:
        return f"{record.method} {route_of(record.path)}"
    return f"{asked} {record.model or record.service}"


def _of_request(record: RequestRecord) -> Mapping[str, Value | None]:
    """Return what each request has of its own."""
    told: dict[str, Value | None] = {
        names.REQUEST: record.request_id,
        names.REQUEST_SIZE: record.bytes_in,
        names.RESPONSE_SIZE: record.bytes_out,
    }
    if (usage := record.usage) is not None:
        told[names.RESPONSE_MODEL] = usage.model
        told[names.INPUT_TOKENS] = usage.input
        told[names.OUTPUT_TOKENS] = usage.output
    return told


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
