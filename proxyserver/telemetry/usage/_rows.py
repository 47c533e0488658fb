"""What is summed up for a day: pure sums, which can be added to one another."""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from proxyserver.http import Outcome, RequestRecord

BY = ("service", "model", "key", "day")
"""What can be asked for: sums by each of these."""
_LEFT = (Outcome.CLIENT_GONE, Outcome.CANCELLED, Outcome.CUT)

Of: TypeAlias = tuple[str, ...]
"""Whose a row is: `(day, service, model, key)` or `(day, service)`; days are UTC's, as ISO 8601."""


@attrs.define(eq=True)
class Asked:
    """Requests of a day to a service, for one model, by one key."""

    requests: int = 0
    failed: int = 0
    """The service broke off, or the answer was a 5xx of its own."""
    refused: int = 0
    """By the proxy: no room, a full queue, a rule."""
    left: int = 0
    """The client went, or the request was cancelled."""
    input_tokens: int = 0
    cached_tokens: int = 0
    """Of the input: those that had been read before."""
    output_tokens: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    duration_s: float = 0.0
    waited_s: float = 0.0

    def add(self, record: RequestRecord) -> None:
        """Add a request that is over."""
        outcome, usage = record.outcome, record.usage
        self.requests += 1
        if outcome is Outcome.REJECTED:
            self.refused += 1
        elif outcome in _LEFT:
            self.left += 1
        elif outcome is not Outcome.ANSWERED or (record.status or 0) >= 500:
            self.failed += 1
        if usage is not None:
            self.input_tokens += usage.input or 0
            self.cached_tokens += usage.cached or 0
            self.output_tokens += usage.output or 0
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        self.duration_s += record.duration_s
        self.waited_s += record.waited_s


@attrs.define(eq=True)
class Held:
    """What a service held on a day."""

    starts: int = 0
    failed_starts: int = 0
    evictions: int = 0
    """How often it left, or fell asleep, to make room for another."""
    run_s: float = 0.0
    """How long it was there, from its start to its end."""
    idle_s: float = 0.0
    """Of that: ready, with nobody to serve."""
    gpu_s: float = 0.0
    """How long it held memory of a GPU, for each GPU."""
    vram_byte_s: float = 0.0
    ram_byte_s: float = 0.0
    energy_j: float = 0.0
    """Its share of what the GPUs took that it was on."""
    vram_peak: int = 0
    ram_peak: int = 0


PEAKS = ("vram_peak", "ram_peak")
"""Of these the largest counts, not the sum."""


def plus(row: Asked | Held, other: Asked | Held) -> None:
    """Add one row to another of its kind."""
    for field in attrs.fields(type(row)):
        name = field.name
        one, two = getattr(row, name), getattr(other, name)
        setattr(row, name, max(one, two) if name in PEAKS else one + two)


Told: TypeAlias = Mapping[str, str | int | float]
"""A row as people get it."""
