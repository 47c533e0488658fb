"""What is changed about requests on their way to a service, as the configuration wants it; pure."""

from collections.abc import Mapping

import attrs

from proxyserver.wire import Change, RequestHead, without_fields


@attrs.frozen
class BodyRules:
    """What a body shall say."""

    model: str | None = None
    """The model by the name that the server knows; None: as the client wrote it."""
    change: Change | None = None
    """Its other keys, where it is JSON."""


@attrs.frozen
class RequestRules:
    """The rules of one service."""

    body: BodyRules = BodyRules()
    by_name: Mapping[str, BodyRules] = attrs.field(factory=dict)
    """For those who name the model so; all there is to it, the service's own rules among it."""
    size_max: int | None = None
    dropped: frozenset[bytes] = frozenset()
    """Headers of the client, in lower case, that do not go on."""
    added: bytes = b""
    """Lines of headers that do."""
    first_byte_s: float | None = None
    """None, here and below: as for all services."""
    stall_s: float | None = None
    total_s: float | None = None

    def body_rules(self, name: str) -> BodyRules:
        """Return what holds for the body of a request that names the model so."""
        return self.by_name.get(name, self.body)

    def filtered(self, head: RequestHead) -> RequestHead:
        """Return the head without what shall not go on; `added` is to be added."""
        return without_fields(head, self.dropped) if self.dropped else head
