"""Encodes what all signals have in common: attributes, resource, scope, and their envelope."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SCOPE = "aiproxy"
Value: TypeAlias = str | int | float | bool

_RESOURCE, _SCOPES = 1, 2
"""Fields of ResourceSpans, ResourceMetrics and ResourceLogs: in all three the same."""
_SCOPE = 1
"""Field of ScopeSpans, ScopeMetrics and ScopeLogs."""
_ALL = 1
"""Field of the request."""


def attribute(name: str, value: Value) -> KeyValue:
    return KeyValue(key=name, value=_any(value))


def attributes(values: Mapping[str, Value | None]) -> list[KeyValue]:
    """Return attributes; those without a value are left out."""
    return [attribute(name, value) for name, value in values.items() if value is not None]


def _any(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)


def envelope(resource: Mapping[str, Value | None], version: str) -> Callable[[bytes], bytes]:
    """Return what puts encoded items of a scope into the body of a request.

    The items are the encoded `ScopeSpans`, `ScopeMetrics` or `ScopeLogs` that have nothing but
    items, one after the other: the concatenation of encoded messages is the encoding of the
    merged one.
    """
    described = field(_RESOURCE, Resource(attributes=attributes(resource)).SerializeToString())
    scope = field(_SCOPE, InstrumentationScope(name=SCOPE, version=version).SerializeToString())

    def wrapped(items: bytes) -> bytes:
        return field(_ALL, described + field(_SCOPES, scope + items))

    return wrapped


def field(number: int, payload: bytes) -> bytes:
    """Return an encoded field, of a number below 16, that holds a message or a text."""
    return b"%c%s%s" % (number << 3 | 2, varint(len(payload)), payload)


def varint(number: int) -> bytes:
    """Return a number, which is none below 0, as seven bits a byte, the lowest first."""
    if number < 0x80:
        return b"%c" % number
    if number < 0x4000:
        return b"%c%c" % (number & 0x7F | 0x80, number >> 7)
    return b"%c%s" % (number & 0x7F | 0x80, varint(number >> 7))
