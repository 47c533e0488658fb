"""When the first of many timers is due: known at any time, searched for only when it moves."""

import math
from collections.abc import Mapping

from ._ids import ServiceId

NEVER = math.inf


class Timers:
    """One timer for each service, and the first of them.

    Derived from `ServiceBook.timer_at`, so it is never written down; `Verbs.arm` keeps both.
    """

    def __init__(self, timers: Mapping[ServiceId, float | None]) -> None:
        self._at = {service: NEVER if at is None else at for service, at in timers.items()}
        self.first_at = min(self._at.values(), default=NEVER)
        """When the first is due; `NEVER` if none is armed."""

    def set(self, service: ServiceId, at: float | None) -> None:
        before, after = self._at[service], NEVER if at is None else at
        self._at[service] = after
        if after <= self.first_at:
            self.first_at = after
        elif before == self.first_at:
            self.first_at = min(self._at.values())
