"""What the core is told of measurements: what has changed, and what cannot be measured any more."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from proxycore import DeviceId, MemoryMeasured, MemoryUnknown

from ._protocol import Measurement

Tell: TypeAlias = Callable[[MemoryMeasured | MemoryUnknown], None]

STEP_MIN = 64 * 1024 * 1024
STEP_PART = 200
"""A change of less than 64 MiB, or half a percent of the device, decides nothing.

Told all the same while something starts or stops; else the journal would be full of them.
"""


class Report:
    """Remembers what was told last.

    Args:
        headrooms: what shall stay free on each device that the core knows; others are not told.
        tell: the core.
    """

    def __init__(self, headrooms: Mapping[DeviceId, int], tell: Tell) -> None:
        self._headrooms = headrooms
        self._tell = tell
        self._told: dict[DeviceId, MemoryMeasured] = {}

    def follow(self, headrooms: Mapping[DeviceId, int]) -> None:
        """Tell of these devices from now on."""
        self._headrooms = headrooms
        for device in [*self._told]:
            if device not in headrooms:
                del self._told[device]  # The core forgot it: should it come back, it is new.

    def measured(self, measurement: Measurement, *, lively: bool) -> None:
        """Tell of a measurement, if it is worth it.

        Args:
            measurement: the latest.
            lively: whether something starts or stops, so that every figure counts.
        """
        if measurement.device not in self._headrooms:
            return
        event = MemoryMeasured(
            measurement.device,
            measurement.total,
            min(measurement.free, measurement.total),
            tuple(sorted(measurement.by_run.items())),
            measurement.complete,
        )
        if event != self._told.get(event.device) and (lively or self._matters(event)):
            self._told[event.device] = event
            self._tell(event)

    def unknown(self, device: DeviceId) -> None:
        """Tell, once, that a device cannot be measured any more."""
        if self._told.pop(device, None) is not None:
            self._tell(MemoryUnknown((device,)))

    def _matters(self, event: MemoryMeasured) -> bool:
        told = self._told.get(event.device)
        if told is None or told.total != event.total or told.complete != event.complete:
            return True
        headroom = self._headrooms[event.device]
        if (told.free < headroom) != (event.free < headroom):
            return True
        before, now = dict(told.by_run), dict(event.by_run)
        changes = [event.free - told.free]
        changes += [now.get(run, 0) - before.get(run, 0) for run in before | now]
        step = max(STEP_MIN, event.total // STEP_PART)
        return before.keys() != now.keys() or any(abs(change) >= step for change in changes)
