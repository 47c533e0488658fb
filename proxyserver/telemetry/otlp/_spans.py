"""Encodes the spans of a request and of a start, once each is over and all of it is known.

Nothing is made while a request is under way: its record has every point in time.  What each request
has of its own is encoded by hand (numbers are the fields of trace.proto, stable since 1.0), because
messages take twice as long; whatever is rare is a message.
"""

import random
import struct
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
from ._encode import Value, attributes, field, varint

_S = 1_000_000_000
_SPANS = 2
"""The field of ScopeSpans."""
_ATTRIBUTES, _EVENTS = 9, 11
"""Fields of Span."""
_PARENT_IS_REMOTE = 0x300
"""That the parent is of another process, and that this is known (SpanFlags)."""
_PLACE = b"\x0a\x10%s\x12\x08%s"
"""`trace_id` and `span_id`."""
_PARENT = b"\x22\x08%s"
"""`parent_span_id`."""
_TIMES = struct.Struct("<BQBQ")
"""`start_time_unix_nano` and `end_time_unix_nano`."""
_START, _END = 0x39, 0x41
_FLAGS = b"\x85\x01" + struct.pack("<I", _PARENT_IS_REMOTE)
"""`flags`."""
_EVENT = struct.Struct("<BQ")
_AT = 0x09
"""`time_unix_nano` of an event."""
_SHORT = 120
"""Up to so much, key and value together, every length is one byte."""
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
        trace_id, own = trace.id.to_bytes(16, "big"), _id(trace.span)
        whole = _placed(trace_id, own, began_ns, ended_ns)
        if trace.parent is not None:
            whole += _PARENT % _id(trace.parent.span) + _FLAGS
        whole += _of_request(record)
        if record.first_byte_s is not None:
            whole += _event(_FIRST_BYTE, began_ns + round(record.first_byte_s * _S))
        if record.retries and record.asked_s is not None:
            whole += _event(_RETRY, began_ns + round(record.asked_s * _S))
        if record.outcome is Outcome.CLIENT_GONE:
            whole += _event(_CANCEL, ended_ns)
        judged = _judged(record)
        encoded = field(_SPANS, whole + judged + kind.whole)
        if record.service is None or record.asked_s is None:
            return encoded
        asked_ns = began_ns + round(record.asked_s * _S)
        admitted_ns = asked_ns + round(record.waited_s * _S)
        parent = _PARENT % own
        queue = _placed(trace_id, _id(new_id(64)), asked_ns, admitted_ns) + parent
        for start in starts:
            link = Span.Link(trace_id=start.trace.to_bytes(16, "big"), span_id=_id(start.span))
            queue += Span(links=[link]).SerializeToString()
        encoded += field(_SPANS, queue + kind.queue)
        if record.run is not None:
            upstream = _placed(trace_id, _id(trace.upstream), admitted_ns, ended_ns) + parent
            encoded += field(_SPANS, upstream + judged + kind.upstream)
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


def _name(record: RequestRecord) -> str:
    asked = operation(record.path)
    if record.service is None or asked == OTHER:
        return f"{record.method} {route_of(record.path)}"
    return f"{asked} {record.model or record.service}"


def _placed(trace: bytes, span: bytes, from_ns: int, to_ns: int) -> bytes:
    return _PLACE % (trace, span) + _TIMES.pack(_START, from_ns, _END, max(from_ns, to_ns))


def _event(name: bytes, at_ns: int) -> bytes:
    return field(_EVENTS, _EVENT.pack(_AT, at_ns) + name)


_FIRST_BYTE, _RETRY, _CANCEL = (
    field(2, name.encode()) for name in (names.FIRST_BYTE, names.RETRY, names.CANCEL)
)


def _of_request(record: RequestRecord) -> bytes:
    """Return the attributes that each request has of its own."""
    told = (
        _text(_REQUEST, record.request_id)
        + _number(_REQUEST_SIZE, record.bytes_in)
        + _number(_RESPONSE_SIZE, record.bytes_out)
    )
    if (usage := record.usage) is not None:
        if usage.model is not None:
            told += _text(_RESPONSE_MODEL, usage.model)
        if usage.input is not None:
            told += _number(_INPUT_TOKENS, usage.input)
        if usage.output is not None:
            told += _number(_OUTPUT_TOKENS, usage.output)
    return told


_REQUEST, _REQUEST_SIZE, _RESPONSE_SIZE, _RESPONSE_MODEL, _INPUT_TOKENS, _OUTPUT_TOKENS = (
    field(1, name.encode())
    for name in (
        names.REQUEST,
        names.REQUEST_SIZE,
        names.RESPONSE_SIZE,
        names.RESPONSE_MODEL,
        names.INPUT_TOKENS,
        names.OUTPUT_TOKENS,
    )
)


def _text(key: bytes, text: str) -> bytes:
    """Return an attribute; half a character, which JSON can write, is replaced."""
    value = text.encode("utf-8", "replace")
    size = len(value)
    if len(key) + size > _SHORT:
        return field(_ATTRIBUTES, key + field(2, field(1, value)))
    return b"\x4a%c%s\x12%c\x0a%c%s" % (len(key) + size + 4, key, size + 2, size, value)


def _number(key: bytes, number: int) -> bytes:
    """Return an attribute; the number is none below 0."""
    digits = varint(number)
    size = len(digits)
    return b"\x4a%c%s\x12%c\x18%s" % (len(key) + size + 3, key, size + 1, digits)


def _judged(record: RequestRecord) -> bytes:
    """Say whether it went wrong: by our fault or the service's, not by the client's."""
    failed = record.outcome in _LOST or (record.status or 0) >= 500
    if not failed:
        return b""
    kind = record.outcome.value if record.outcome in _LOST else str(record.status)
    message = "" if record.error is None else str(record.error)
    status = Status(code=Status.STATUS_CODE_ERROR, message=message)
    return Span(status=status, attributes=attributes({names.ERROR_TYPE: kind})).SerializeToString()
