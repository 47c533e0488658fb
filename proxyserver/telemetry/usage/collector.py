"""Sums up what happens, in memory, and writes it down every second."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import trio
from loguru import logger

from proxycore import RAM, Changed, CoreView, DeviceId, ServiceView, State, Unit
from proxyserver.gauges import Measurement
from proxyserver.http import RequestRecord

from .._now import Measured
from .._reasons import Left, why_left
from .._store import OTHER
from ..starts import Start
from ._rows import Asked, Held, Of, Told, plus
from .store import UsageStore

FLUSH_S = 1.0
"""Who kills the process loses what came in its last second."""
ROWS_MAX = 5000
"""So many rows are summed up at a time; what is above that is summed up together."""
CLOSE_S = 5.0
GAP_MAX_S = 10.0
"""A longer time between two looks (the machine slept) counts for nothing."""
_ENDED = (State.DOWN, State.RESERVED, State.VERIFYING, State.BACKOFF, State.FAILED)


class Collector:
    """Hears of requests, starts and changes, and looks at what services hold.

    Args:
        store: where it is kept.
        view: tells how the core sees everything.
        measured: who knows the memory.
        now: tells the time, in seconds since 1970.
    """

    def __init__(
        self,
        store: UsageStore,
        view: Callable[[], CoreView],
        measured: Measured,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._view = view
        self._measured = measured
        self._now = now
        self._rows: dict[Of, Asked | Held] = {}
        self._turn = trio.Lock()
        self._looked_at: float | None = None
        self._fails = False
        self._today = (0.0, "")

    def open(self) -> None:
        """Open the file, so that what is wrong with it is told when the daemon starts."""
        try:
            self._store.open()
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._fails:
            logger.warning("the statistics of use cannot be written: {}", error)
        self._fails = True

    def today(self) -> str:
        """Return the day of UTC, as ISO 8601 has it."""
        ends_at, day = self._today
        now = self._now()
        if not ends_at - 86400 <= now < ends_at:
            ends_at = (now // 86400 + 1) * 86400
            day = datetime.fromtimestamp(now, UTC).date().isoformat()
            self._today = ends_at, day
        return day

    def request(self, record: RequestRecord) -> None:
        """Take note of a request that is over; one that was for no service is none."""
        service = record.service
        if service is None:
            return
        of = (self.today(), service, record.model or service, record.key or "")
        row = self._rows.get(of)
        if row is None:
            row = self._new(of, Asked())
        assert isinstance(row, Asked)
        row.add(record)

    def start(self, start: Start) -> None:
        """Take note of a start that is over."""
        held = self._held(start.service)
        if start.ready:
            held.starts += 1
        else:
            held.failed_starts += 1

    def changed(self, changed: Changed) -> None:
        """Take note of a change of a service."""
        if why_left(changed) is Left.ROOM:
            self._held(changed.service).evictions += 1

    def look(self) -> None:
        """Add what services have held since the last look."""
        now = trio.current_time()
        since, self._looked_at = self._looked_at, now
        if since is None or not 0 < (gap_s := now - since) <= GAP_MAX_S:
            return
        view = self._view()
        devices = [one.id for one in view.devices if one.unit is Unit.BYTES]
        seen = {device: self._measured.measurement(device) for device in devices}
        on: dict[DeviceId, list[ServiceView]] = {device: [] for device in devices}
        for service in view.services:
            if service.run is None or service.state in _ENDED:
                continue
            amounts = _amounts(service, seen)
            for device in amounts:
                on[device].append(service)
            self._add_held(service, amounts, gap_s)
        for device, services in on.items():
            self._add_energy(seen[device], services, gap_s)

    def _add_held(
        self, service: ServiceView, amounts: Mapping[DeviceId, int], gap_s: float
    ) -> None:
        held = self._held(service.id)
        held.run_s += gap_s
        if service.state is State.READY and not service.in_flight and not service.waiting:
            held.idle_s += gap_s
        ram = amounts.get(RAM, 0)
        vram = sum(amounts.values()) - ram
        held.gpu_s += gap_s * len(amounts.keys() - {RAM})
        held.vram_byte_s += vram * gap_s
        held.ram_byte_s += ram * gap_s
        held.vram_peak = max(held.vram_peak, vram)
        held.ram_peak = max(held.ram_peak, ram)

    def _add_energy(
        self, seen: Measurement | None, services: Sequence[ServiceView], gap_s: float
    ) -> None:
        """Share out what a GPU took: among those on it that serve, or if none does, among all."""
        power_w = None if seen is None else seen.vitals.power_w
        if power_w is not None:
            sharing = [one for one in services if one.in_flight] or services
            for service in sharing:
                self._held(service.id).energy_j += power_w * gap_s / len(sharing)

    async def run(self) -> None:
        """Look, and write down, every second, until cancelled."""
        while True:
            await trio.sleep(FLUSH_S)
            self.look()
            await self.flush()

    async def close(self) -> None:
        """Write down what is left."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            self.look()
            await self.flush()
            self._store.close()

    async def flush(self) -> None:
        """Write down what was summed up; what cannot be written waits for the next time."""
        async with self._turn:
            if not self._rows:
                return
            rows, self._rows = self._rows, {}
            try:
                await trio.to_thread.run_sync(self._store.add, self.today(), rows)
            except BaseException as error:
                # Also if it was cancelled: then the thread has not begun.
                self._take_back(rows)
                if not isinstance(error, OSError):
                    raise
                self._complain(error)
            else:
                self._fails = False

    async def sums(self, by: str, first: str, last: str) -> list[Told]:
        """Return the sums of some days, up to now; see `UsageStore.sums`.

        Raises:
            OSError: the file cannot be read.
        """
        self.look()
        await self.flush()
        return await trio.to_thread.run_sync(self._store.sums, by, first, last)

    def _held(self, service: str) -> Held:
        of = (self.today(), service)
        row = self._rows.get(of)
        if row is None:
            row = self._new(of, Held())
        assert isinstance(row, Held)
        return row

    def _take_back(self, rows: Mapping[Of, Asked | Held]) -> None:
        for of, row in rows.items():
            ours = self._rows.get(of)
            plus(self._new(of, type(row)()) if ours is None else ours, row)

    def _new(self, of: Of, row: Asked | Held) -> Asked | Held:
        if len(self._rows) >= ROWS_MAX:
            of = (of[0], *[OTHER] * (len(of) - 1))
        return self._rows.setdefault(of, row)


def _amounts(
    service: ServiceView, seen: Mapping[DeviceId, Measurement | None]
) -> dict[DeviceId, int]:
    """Return what a run holds of each device: what was measured, else what it claims."""
    amounts = {}
    for device, measurement in seen.items():
        amount = 0 if service.placement is None else service.placement.on(device)
        if measurement is not None and service.run is not None:
            amount = measurement.by_run.get(service.run, amount)
        if amount:
            amounts[device] = amount
    return amounts
