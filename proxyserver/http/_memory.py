"""Measured memory as the API tells it: by device, and by run."""

from typing import Any

import trio

from proxycore import RAM, CoreView, DeviceId, RunId

from ._ports import Gauges


def of_device(gauges: Gauges, view: CoreView, device: DeviceId) -> dict[str, Any] | None:
    """Tell what a device has and who holds it; None: it was never measured."""
    measured = gauges.last(device)
    if measured is None:
        return None
    holders = {service.run: service.id for service in view.services}
    return {
        "total": measured.total,
        "used": measured.used,
        "free": measured.free,
        "services": {
            holders[run]: amount for run, amount in measured.by_run.items() if run in holders
        },
        "foreign": measured.foreign,
        "age_s": max(0.0, trio.current_time() - measured.at),
        "stale": gauges.measurement(device) is None,
    }


def vram_of(gauges: Gauges, view: CoreView, run: RunId | None) -> dict[str, int] | None:
    """Tell what a run holds of each GPU; None: no GPU's figures are fresh and complete.

    A GPU of which it holds nothing is left out.
    """
    measured = [
        one
        for device in view.devices
        if device.id != RAM and (one := gauges.measurement(device.id)) is not None
    ]
    if run is None or not any(one.complete or run in one.by_run for one in measured):
        return None
    return {one.device: one.by_run[run] for one in measured if run in one.by_run}
