"""What experience teaches about a service: how much it takes, how long, and how often."""

import math

import attrs

from ._ids import RAM, DeviceId
from .config import Placement

HALF_LIFE_S = 1800.0
"""A request of half an hour ago counts half; docs/architecture.md, "Victims"."""

WEIGHT = 0.3
"""Of the latest value in a moving average: some five values back hardly count."""

PEAK_MARGIN = 1.05
"""What was seen at most may be exceeded a little next time."""
OOM_MARGIN = 1.15
"""Who ran out of memory needs more than was thought: 10 to 20 % more is tried, once."""


@attrs.frozen
class Peak:
    """What runs of one shape took at most, in bytes."""

    declared: tuple[int, ...]
    """The shape: what the placement claims by configuration, in the order of its devices."""
    amounts: tuple[tuple[DeviceId, int], ...]
    """Seen, in the order of the devices of the placement; of any GPU where it claims nothing.

    0 stands for a device of which nothing is known.
    """


@attrs.frozen
class Experience:
    """What is worth knowing in the next life of the daemon."""

    requests: float = 0.0
    """Requests until `as_of`, each halved for every half hour before that."""
    as_of: float = 0.0
    """On the clock of the core; of an earlier life, so long before its first event."""
    load_s: float | None = None
    return_gap_s: float | None = None
    peaks: tuple[Peak, ...] = ()
    asleep: int | None = None
    """Bytes that a sleeping run holds of each of its GPUs at most; None: nobody has said."""


@attrs.define
class Learnt:
    """Experience with one service, beside what its configuration declares."""

    count: float = 0.0
    """Requests, decayed until `as_of`."""
    as_of: float = 0.0
    served_until: float | None = None
    """When it last went from serving somebody to serving nobody, if nobody has come since."""
    load_s: float | None = None
    """How long a load takes, averaged; None: it was never loaded."""
    wake_s: float | None = None
    """How long it takes to wake, averaged; None: it never did."""
    return_gap_s: float | None = None
    """From going idle to the next arrival, averaged; None: nobody has ever come back.

    From arrival to arrival would miss how long an answer takes.
    """
    rent: float = 0.0
    """`Books.rent` at the last request."""
    peaks: dict[tuple[int, ...], Peak] = attrs.field(factory=dict)
    asleep: int | None = None
    """What a sleeping run holds of each of its GPUs at most; None: no run has said."""

    def note_request(self, now: float, rent: float) -> None:
        self.count = self.requests(now) + 1.0
        self.as_of = now
        self.rent = rent
        if self.served_until is not None:
            self.return_gap_s = _average(self.return_gap_s, now - self.served_until)
            self.served_until = None

    def note_idle(self, now: float) -> None:
        self.served_until = now

    def note_load(self, load_s: float, most_s: float = math.inf) -> None:
        """Learn how long a load took, unless that was more than can be believed.

        Loads share a disk: one that others slowed down says little of the next.  And a simulation
        in which nothing takes time teaches nothing about loads.
        """
        if 0 < load_s < most_s:
            self.load_s = _average(self.load_s, load_s)

    def note_wake(self, wake_s: float) -> None:
        if wake_s > 0:
            self.wake_s = _average(self.wake_s, wake_s)

    def note_asleep(self, holds: int) -> None:
        """Learn what a run holds asleep: the least of what was said, since each is an upper bound.

        A server knows what is in use on its GPU, which may be others' as well.
        """
        self.asleep = holds if self.asleep is None else min(self.asleep, holds)

    def residue(self, declared: Placement, home: Placement) -> Placement:
        """Return what a run that lives at `home` is expected to hold asleep.

        Of GPUs as it was said, which may be more than was declared; of main memory as declared.
        """
        if self.asleep is None:
            return declared
        gpus = ((device, min(n, self.asleep)) for device, n in home.amounts if device != RAM)
        return Placement.of([*gpus, (RAM, declared.on(RAM))])

    def requests(self, now: float) -> float:
        """Return the number of requests so far, each halved for every half-life since."""
        return float(self.count * 0.5 ** ((now - self.as_of) / HALF_LIFE_S))

    def note_peak(self, declared: Placement, seen: dict[DeviceId, int]) -> None:
        """Learn from a run that has served what it took at most.

        More than ever is believed at once; less, slowly: this run may have had an easy life.
        """
        shape = _shape(declared)
        devices = declared.devices or tuple(sorted(seen))
        before = [amount for _, amount in self.peaks[shape].amounts] if shape in self.peaks else []
        amounts = []
        for index, device in enumerate(devices):
            known = before[index] if index < len(before) else 0
            amount = seen.get(device, 0) or known
            if amount < known:
                amount = math.ceil(_average(known, amount))
            amounts.append((device, amount))
        if any(amount for _, amount in amounts):
            self.peaks[shape] = Peak(shape, tuple(amounts))

    def note_out_of_memory(self, declared: Placement, claimed: Placement) -> None:
        """Learn that what a run claimed was too little."""
        raised = tuple(
            (device, math.ceil(amount * OOM_MARGIN / PEAK_MARGIN))
            for device, amount in claimed.amounts
        )
        if raised:
            self.peaks[_shape(declared)] = Peak(_shape(declared), raised)

    def estimate(self, declared: Placement, usable: dict[DeviceId, int]) -> Placement:
        """Return what a run with this placement is expected to take at most.

        Args:
            declared: what the configuration says, which counts until something was seen.
            usable: what each device has at most: what fits by declaration is never thought
                too large for any device, because it did run there.
        """
        peak = self.peaks.get(_shape(declared))
        if peak is None:
            return declared
        devices = declared.devices or tuple(device for device, _ in peak.amounts)
        amounts = []
        for device, (_, seen) in zip(devices, peak.amounts, strict=False):
            if device in usable:
                claim = declared.on(device)
                expected = math.ceil(seen * PEAK_MARGIN) or claim
                amounts.append((device, min(expected, max(claim, usable[device]))))
        return Placement.of(amounts)

    def forget_runs(self) -> None:
        """Forget what runs have taught: the next is another kind of run.

        Who wants it, and how often, is the same as before.
        """
        self.load_s = self.wake_s = self.asleep = None
        self.peaks.clear()

    @property
    def experience(self) -> Experience:
        return Experience(
            self.count,
            self.as_of,
            self.load_s,
            self.return_gap_s,
            tuple(self.peaks.values()),
            self.asleep,
        )

    def recall(self, experience: Experience) -> None:
        """Take over what an earlier life has learnt."""
        self.count, self.as_of = experience.requests, experience.as_of
        self.load_s = experience.load_s
        self.return_gap_s = experience.return_gap_s
        self.peaks = {peak.declared: peak for peak in experience.peaks}
        self.asleep = experience.asleep


def _shape(placement: Placement) -> tuple[int, ...]:
    """Two placements of one shape are the same but for the devices: what one teaches, both know."""
    return tuple(amount for _, amount in placement.amounts)


def _average(mean: float | None, latest: float) -> float:
    return latest if mean is None else mean + WEIGHT * (latest - mean)
