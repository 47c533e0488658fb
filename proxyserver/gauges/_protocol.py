"""What a gauge is: something that tells the memory of some devices, when it is asked."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from proxycore import DeviceId, RunId


class GaugeFault(Exception):
    """The world's fault: nothing can be measured; the text says why and what would help."""


@attrs.frozen
class Vitals:
    """How a device is besides its memory, where it tells; None: it does not."""

    utilization: float | None = None
    """The part of the last moments in which it computed, 0 to 1."""
    temperature_c: float | None = None
    power_w: float | None = None


@attrs.frozen
class Measurement:
    """The memory of one device at one moment, in bytes."""

    device: DeviceId
    total: int
    free: int
    by_run: Mapping[RunId, int]
    """What our runs hold, as far as it is known."""
    at: float
    """When the gauge was asked, on Trio's clock: the figures are not older than that."""
    complete: bool = True
    """False: of some processes it is not known how much they hold, so `by_run` may lack some."""
    vitals: Vitals = Vitals()

    @property
    def used(self) -> int:
        """All that is not free: by runs, by strangers, by the driver or the kernel itself."""
        return self.total - self.free

    @property
    def foreign(self) -> int | None:
        """What is used by no run of ours; None: unknown."""
        return max(0, self.used - sum(self.by_run.values())) if self.complete else None


@attrs.frozen
class Fault:
    """One device could not be measured, while others perhaps could."""

    device: DeviceId
    message: str


class Gauge(Protocol):
    """Measures the devices of one kind."""

    @property
    def name(self) -> str: ...

    @property
    def fast_s(self) -> float:
        """How often it may be asked at most."""

    @property
    def message(self) -> str:
        """What is measured, for people, as of the last measurement."""

    async def measure(self) -> Sequence[Measurement | Fault]:
        """Measure every device once.  May be cancelled at any time.

        Raises:
            GaugeFault: nothing can be measured.
        """
