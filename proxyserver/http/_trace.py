"""The place of a request in a trace: which span it is, and which one its upstream is a child of."""

import attrs

from proxyserver.wire import TraceParent


@attrs.frozen
class Trace:
    """One request's place; all spans of it are made of its record, once it is over."""

    id: int
    span: int
    """The whole request."""
    upstream: int
    """The part of it that the service takes."""
    sampled: bool
    parent: TraceParent | None = None
    """The client's."""

    @property
    def for_upstream(self) -> bytes:
        """Return the header `traceparent` for the service."""
        return TraceParent(self.id, self.upstream, self.sampled).header
