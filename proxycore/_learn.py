"""What experience teaches about a service, and what policies read."""

import attrs

HALF_LIFE_S = 1800.0
"""A request of half an hour ago counts half; docs/architecture.md, "Victims"."""


@attrs.define
class Learnt:
    """Experience with one service, beside what its configuration declares.

    Observed peaks, load times and return gaps join the decayed count when memory is measured.
    """

    count: float = 0.0
    """Requests, decayed until `as_of`."""
    as_of: float = 0.0

    rent: float = 0.0
    """`Books.rent` at the last request."""

    def note_request(self, now: float, rent: float) -> None:
        self.count = self.requests(now) + 1.0
        self.as_of = now
        self.rent = rent

    def requests(self, now: float) -> float:
        """Return the number of requests so far, each halved for every half-life since."""
        return float(self.count * 0.5 ** ((now - self.as_of) / HALF_LIFE_S))
