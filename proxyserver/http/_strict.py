"""Heads that two servers may read in two ways are refused, before h11 reads them in one.

h11 is lenient where RFC 9112 lets a server be: bare newlines, folded lines, control characters in
values, lengths said twice.  A proxy in front of us that reads such a head otherwise would see other
requests than we do, and what it keeps from its users could be smuggled past it (RFC 9112, 11.2).
"""

import re

import h11

from proxyserver.wire import BadWire, scan_request

_END = re.compile(rb"\n\r?\n")
"""Where h11 ends a head."""


def check(head: bytes) -> None:
    r"""Check the whole head of a request.

    Raises:
        BadWire: it is not to be read at all.

    >>> check(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    """
    request = scan_request(head)
    if request is None:
        raise BadWire("a head that does not end in an empty line")
    if request.version not in (b"1.0", b"1.1"):
        raise BadWire("another version of HTTP")
    if request.method == b"CONNECT":
        raise BadWire("a request for a tunnel, and there are none here")
    if request.target == b"*" and request.method != b"OPTIONS":
        raise BadWire("a target that is neither a path nor a URL")


class StrictConnection(h11.Connection):
    """h11's connection of a server, which looks at each head first."""

    refused: BadWire | None = None
    """What was wrong with the last head."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what came.

        Raises:
            h11.RemoteProtocolError: it is no HTTP/1.1.
        """
        if self.their_state is h11.IDLE:
            data, _ = self.trailing_data
            end = _END.search(data)
            if end is not None:
                try:
                    check(data[: end.end()])
                except BadWire as refused:
                    self.refused = refused
                    raise h11.RemoteProtocolError(
                        refused.message, error_status_hint=refused.status
                    ) from refused
        return super().next_event()
