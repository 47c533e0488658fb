"""The header `traceparent` (W3C Trace Context): which trace a request belongs to."""

import re

import attrs

_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


@attrs.frozen
class TraceParent:
    """A span somewhere, of which others are children."""

    trace: int
    span: int
    sampled: bool

    @property
    def header(self) -> bytes:
        """Return the value of the header for those that are children of this span."""
        return b"00-%032x-%016x-%02x" % (self.trace, self.span, self.sampled)


def parse_traceparent(value: bytes) -> TraceParent | None:
    """Return what the header says; None: it is no valid one, and a new trace begins."""
    found = _FORM.fullmatch(value)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    parent = TraceParent(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))
    return parent if parent.trace and parent.span else None
