"""Heads that two servers may read in two ways are refused, before h11 reads them in one.

h11 is lenient where RFC 9112 lets a server be: bare line feeds, folded lines, control characters in
values, lengths said twice.  The fast lane and this one shall refuse the same: so the scanner of the
wire has the word, and h11 reads what has passed it.
"""

import h11

from proxyserver.wire import BadWire, RequestHead, scan_request


class StrictConnection(h11.Connection):
    """h11's connection of a server, which looks at each head first."""

    head: RequestHead | None = None
    """The last one that was accepted."""
    problem: str | None = None
    """What was wrong with the one that was refused."""

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Say no: hypercorn would answer at once, whether somebody wants the body or not."""
        return False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what came.

        Raises:
            h11.RemoteProtocolError: it is no HTTP/1.1.
        """
        if self.their_state is h11.IDLE:
            data, _ = self.trailing_data
            try:
                self.head = scan_request(data)
            except BadWire as bad:
                self.problem = bad.message
                raise h11.RemoteProtocolError(bad.message, error_status_hint=bad.status) from bad
        return super().next_event()
