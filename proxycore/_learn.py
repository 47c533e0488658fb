"""What experience teaches about a service, and what policies read."""

import attrs

HALF_LIFE_S = 1800.0
"""A request of half an hour ago counts half; docs/architecture.md, "Victims"."""

GAP_WEIGHT = 0.3
"""Of the latest gap in the moving average: some five gaps back hardly count."""


@attrs.define
class Learnt:
    """Experience with one service, beside what its configuration declares.

    Observed peaks join it when measured memory is scheduled by.
    """

    count: float = 0.0
    """Requests, decayed until `as_of`."""
    as_of: float = 0.0
    served_until: float | None = None
    """When it last went from serving somebody to serving nobody, if nobody has come since."""
    load_s: float | None = None
    """How long its last load took; None: it was never loaded."""
    wake_s: float | None = None
    """How long it last took to wake; None: it never did."""
    return_gap_s: float | None = None
    """From going idle to the next arrival, averaged; None: nobody has ever come back.

    From arrival to arrival would miss how long an answer takes.
    """
    rent: float = 0.0
    """`Books.rent` at the last request."""

    def note_request(self, now: float, rent: float) -> None:
        self.count = self.requests(now) + 1.0
        self.as_of = now
        self.rent = rent
        if self.served_until is not None:
            gap_s = now - self.served_until
            mean_s = gap_s if self.return_gap_s is None else self.return_gap_s
            self.return_gap_s = mean_s + GAP_WEIGHT * (gap_s - mean_s)
            self.served_until = None

    def note_idle(self, now: float) -> None:
        self.served_until = now

    def requests(self, now: float) -> float:
        """Return the number of requests so far, each halved for every half-life since."""
        return float(self.count * 0.5 ** ((now - self.as_of) / HALF_LIFE_S))
