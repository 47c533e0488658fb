"""A policy: what loads slowly stays, the less the longer it rests."""

import attrs

from proxycore import Idle


@attrs.frozen
class CostOverAge:
    """Load time over the time since the last request."""

    name: str = "cost_over_age"

    def value(self, run: Idle) -> float:
        """Return what keeping the run is worth: a number from 0 up, in any unit."""
        return run.load_s / (run.idle_s + 60.0)
