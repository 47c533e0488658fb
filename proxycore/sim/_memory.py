"""What the World knows of memory by itself: who uses it, what was told of it, what that teaches."""

import math
from collections.abc import Iterable

import attrs

from .. import events as ev
from .._ids import RAM, DeviceId, RunId, ServiceId
from .._learn import OOM_MARGIN, PEAK_MARGIN, WEIGHT
from ..config import CoreConfig, Placement, ServiceSpec


@attrs.frozen
class Taken:
    """A run that the core knows of, as far as its memory matters."""

    run: RunId
    placement: Placement
    loaded: bool
    host: RunId | None
    """Of a model: the run that it is measured with."""
    claims: tuple[Placement, ...]
    """Its own, and those of what lives inside it."""


@attrs.define
class Memory:
    """Physical use of the devices, measurements, and the history of loads and peaks."""

    config: CoreConfig
    strangers: dict[DeviceId, int] = attrs.field(factory=dict)
    """What programs use that are none of our runs."""
    late: dict[DeviceId, int] = attrs.field(factory=dict)
    """What no living run uses, and the driver has not given back yet."""
    told: dict[DeviceId, ev.MemoryMeasured] = attrs.field(factory=dict)
    calm: dict[DeviceId, int] = attrs.field(factory=dict)
    """What strangers use at least: the least that was told since nothing was leaving."""
    low_from: dict[DeviceId, float] = attrs.field(factory=dict)
    """Since when less than the headroom is free, and none leaves."""
    loads: dict[ServiceId, list[float]] = attrs.field(factory=dict)
    """How long each load took."""
    asleep: dict[ServiceId, list[int]] = attrs.field(factory=dict)
    """What runs said that they hold asleep of a GPU at most."""
    lives: dict[ServiceId, list[tuple[Placement, Placement, dict[DeviceId, int], bool]]] = (
        attrs.field(factory=dict)
    )
    """How runs ended that teach something: where, with what claim, what was seen, for want of
    memory."""

    def replace(self, config: CoreConfig, now: float) -> None:
        """Go by the devices of another configuration."""
        self.config = config
        headrooms = {device.id: device.headroom for device in config.devices}
        for device, told in list(self.told.items()):
            if device not in headrooms:
                self.forget(device)
            elif told.free >= headrooms[device]:
                self.low_from.pop(device, None)
            else:
                self.low_from.setdefault(device, now)

    def forget_runs(self, service: ServiceId) -> None:
        """Forget what the runs of a service have taught."""
        self.loads.pop(service, None)
        self.lives.pop(service, None)
        self.asleep.pop(service, None)

    def measured(
        self, device: DeviceId, uses: dict[RunId, int], *, complete: bool
    ) -> ev.MemoryMeasured:
        """Return what a gauge tells; one that is not complete has no figure for any run."""
        total = next(one.capacity for one in self.config.devices if one.id == device)
        used = sum(uses.values()) + self.strangers.get(device, 0) + self.late.get(device, 0)
        by_run = tuple((run, amount) for run, amount in uses.items() if amount)
        return ev.MemoryMeasured(
            device, total, max(0, total - used), by_run if complete else (), complete
        )

    def note_told(
        self,
        told: ev.MemoryMeasured,
        taken: list[Taken],
        now: float,
        *,
        leaving: bool,
        leaves_here: bool,
    ) -> None:
        """Take note of a measurement.

        Args:
            told: what was measured.
            taken: all runs that the core knows of.
            now: when.
            leaving: whether the memory of any run may be about to come back.
            leaves_here: whether some of this device surely is.
        """
        self.told[told.device] = told
        foreign = self.foreign(told, taken)
        before = self.calm.get(told.device, foreign)
        self.calm[told.device] = min(before, foreign) if leaving else foreign
        headroom = next(one.headroom for one in self.config.devices if one.id == told.device)
        if told.free >= headroom or leaves_here:
            self.low_from.pop(told.device, None)
        else:
            self.low_from.setdefault(told.device, now)

    def count_anew(self, placement: Placement) -> None:
        """Be content with little memory where one begins to leave, until it has left."""
        for device in placement.devices:
            self.low_from.pop(device, None)

    def forget(self, device: DeviceId) -> None:
        for known in (self.told, self.calm, self.low_from):
            known.pop(device, None)

    def foreign(self, told: ev.MemoryMeasured, taken: Iterable[Taken]) -> int:
        """Return what is used by none of these runs."""
        return max(0, told.total - told.free - sum(_seen(told, one) for one in taken))

    def holds(self, one: Taken) -> Placement:
        """Return what a run claims, or is known to hold if that is more."""
        amounts = dict(one.placement.amounts)
        for device, told in self.told.items():
            amounts[device] = max(amounts.get(device, 0), dict(told.by_run).get(one.run, 0))
        return Placement.of(amounts.items())

    def lacks(self, taken: list[Taken], staying: list[Taken], *, most: bool) -> dict[DeviceId, int]:
        """Return by how much less there is on each device than capacity and claims say.

        Args:
            taken: all runs that the core knows of.
            staying: those that will not leave.
            most: suppose that as little as possible is in the way.
        """
        lacks = {}
        for device in self.config.devices:
            told = self.told.get(device.id)
            if told is None:
                continue
            foreign = self.foreign(told, taken)
            over = sum(max(0, _seen(told, one) - _claim(one, device.id)) for one in staying)
            used = told.total - told.free
            within = sum(min(_seen(told, one), _claim(one, device.id)) for one in taken)
            over = min(over, max(0, used - within))
            if most:
                foreign = min(foreign, self.calm.get(device.id, foreign))
                over = 0
            lacks[device.id] = max(0, device.capacity - told.total + foreign + over)
        return lacks

    # What is learnt

    def residue(self, spec: ServiceSpec, home: Placement) -> Placement | None:
        """Return what a run at this place holds asleep, by all that was said; None: it cannot."""
        declared, said = spec.residue(home), self.asleep.get(spec.id)
        if declared is None or said is None:
            return declared
        amounts = dict(declared.amounts)
        for device, claim in home.amounts:
            if device != RAM:
                amounts[device] = min(claim, *said)
        return Placement.of(amounts.items())

    def mean_load_s(self, service: ServiceId) -> float | None:
        return average(self.loads.get(service, ()))

    def load_s(self, service: ServiceId, declared_s: float) -> float:
        return self.mean_load_s(service) or declared_s

    def expected(self, service: ServiceId, declared: Placement) -> Placement:
        """Return what a run at this place is expected to take, by all that came before it."""
        known: dict[int, int] = {}
        places: tuple[DeviceId, ...] = declared.devices
        for where, claimed, seen, out_of_memory in self.lives.get(service, ()):
            if _shape(where) != _shape(declared):
                continue
            if out_of_memory:
                amounts = [math.ceil(n * OOM_MARGIN / PEAK_MARGIN) for _, n in claimed.amounts]
                if not amounts:
                    continue
                known = dict(enumerate(amounts))
                places = declared.devices or claimed.devices
                continue
            gpus = {device: n for device, n in seen.items() if device != RAM}
            devices = where.devices or tuple(sorted(gpus))
            latest = {i: seen.get(device, 0) for i, device in enumerate(devices)}
            if not any(latest.values()) and not any(known.values()):
                continue
            for index, amount in latest.items():
                before = known.get(index, 0)
                if amount == 0:
                    latest[index] = before
                elif amount < before:
                    latest[index] = math.ceil(before + WEIGHT * (amount - before))
            known = latest
            places = declared.devices or devices
        if not known:
            return declared
        amounts_on = []
        for index, device in enumerate(places):
            spec = next((one for one in self.config.devices if one.id == device), None)
            if spec is None:
                continue
            claim = declared.on(device)
            amount = math.ceil(known.get(index, 0) * PEAK_MARGIN) or claim
            amounts_on.append((device, min(amount, max(claim, spec.usable))))
        return Placement.of(amounts_on)


def average(values: Iterable[float]) -> float | None:
    """Return the moving average of what was learnt in this order."""
    mean: float | None = None
    for value in values:
        mean = value if mean is None else mean + WEIGHT * (value - mean)
    return mean


def _seen(told: ev.MemoryMeasured, one: Taken) -> int:
    by_run = dict(told.by_run)
    if one.host in by_run:
        return 0
    if told.complete or one.run in by_run or not one.loaded:
        return by_run.get(one.run, 0)
    return one.placement.on(told.device)


def _claim(one: Taken, device: DeviceId) -> int:
    return sum(claim.on(device) for claim in one.claims)


def _shape(placement: Placement) -> list[int]:
    return [amount for _, amount in placement.amounts]
