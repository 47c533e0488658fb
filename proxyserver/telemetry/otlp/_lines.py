"""Encodes log lines for OTLP, each with the trace that it belongs to."""

import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs, SeverityNumber

from proxycore import RunId, ServiceId

from .. import names
from ..logs import SPAN, TRACE
from ._encode import Value, attributes

if TYPE_CHECKING:
    from loguru import Record

_SEVERITIES = {
    5: SeverityNumber.SEVERITY_NUMBER_TRACE,
    10: SeverityNumber.SEVERITY_NUMBER_DEBUG,
    20: SeverityNumber.SEVERITY_NUMBER_INFO,
    25: SeverityNumber.SEVERITY_NUMBER_INFO2,
    30: SeverityNumber.SEVERITY_NUMBER_WARN,
    40: SeverityNumber.SEVERITY_NUMBER_ERROR,
    50: SeverityNumber.SEVERITY_NUMBER_FATAL,
}
_RENAMED = {
    "service": names.SERVICE.attribute,
    "run": names.RUN,
    "request": names.REQUEST,
    "ticket": names.TICKET,
    "status": names.STATUS.attribute,
    "outcome": names.OUTCOME.attribute,
}
_NOT_TOLD = frozenset((TRACE, SPAN, "line"))
_S = 1_000_000_000


def encoded_line(record: "Record") -> bytes:
    """Return a line of loguru's."""
    extra = record["extra"]
    at_ns = round(record["time"].timestamp() * _S)
    encoded = LogRecord(
        time_unix_nano=at_ns,
        observed_time_unix_nano=at_ns,
        severity_number=_SEVERITIES.get(
            record["level"].no, SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED
        ),
        severity_text=record["level"].name,
        attributes=attributes(_told(record)),
    )
    encoded.body.string_value = record["message"]
    if TRACE in extra and SPAN in extra:
        encoded.trace_id = bytes.fromhex(extra[TRACE])
        encoded.span_id = bytes.fromhex(extra[SPAN])
    return ScopeLogs(log_records=[encoded]).SerializeToString()


def encoded_output(service: ServiceId, run: RunId, line: str, at_ns: int) -> bytes:
    """Return a line that a service wrote to its output, seen at a time in nanoseconds since 1970.

    It has no severity, for no two servers tell theirs in the same way, and no time of its own.
    """
    told: dict[str, Value | None] = {
        names.SERVICE.attribute: service,
        names.RUN: run,
        names.ORIGIN: names.OUTPUT,
    }
    encoded = LogRecord(observed_time_unix_nano=at_ns, attributes=attributes(told))
    encoded.body.string_value = line
    return ScopeLogs(log_records=[encoded]).SerializeToString()


def _told(record: "Record") -> Mapping[str, Value | None]:
    told: dict[str, Value | None] = {
        names.CODE_FILE: record["file"].path,
        names.CODE_FUNCTION: record["function"],
        names.CODE_LINE: record["line"],
    }
    for name, value in record["extra"].items():
        if name not in _NOT_TOLD and value is not None:
            plain = value if isinstance(value, str | int | float) else str(value)
            told[_RENAMED.get(name, f"aiproxy.{name}")] = plain
    if (raised := record["exception"]) is not None and raised.type is not None:
        told |= {
            names.EXCEPTION_TYPE: raised.type.__qualname__,
            names.EXCEPTION_MESSAGE: str(raised.value),
            names.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(*raised)),
        }
    return told
