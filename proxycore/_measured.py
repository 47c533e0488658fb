"""What a measurement changes: what is known of devices and runs, and who need not wait any more."""

from . import effects as fx
from ._books import ServiceBook
from ._claims import placement_of
from ._ids import RAM, DeviceId
from ._lifecycle import State, Step
from ._memory import (
    VERIFY_PART,
    VERIFY_S,
    DeviceBook,
    is_leaving,
    is_verifiable,
    unclaimed,
)
from ._verbs import Verbs
from .config import Placement
from .events import Cause


class Measured:
    """The verbs that have to do with measured memory."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._books = verbs.books
        self._headroom = {device.id: device.headroom for device in verbs.config.devices}

    def note(self, device: DeviceId, measured: DeviceBook) -> None:
        """Take note of a measurement, and of what it says about runs."""
        before = self._books.measured.get(device)
        holding = self._verbs.holding()
        if is_leaving(device, measured, holding):
            measured.calm = before.calm if before is not None else None
        else:
            measured.calm = unclaimed(device, measured, holding).foreign
            if measured.free < self._headroom[device]:
                since = before.low_since if before is not None else None
                measured.low_since = self._books.now if since is None else since
        self._books.measured[device] = measured
        self._verbs.room_changed = True
        for book in self._books.services.values():
            if book.run is not None and book.run in measured.by_run:
                book.seen[device] = max(book.seen.get(device, 0), measured.by_run[book.run])
                if book.served:
                    book.proved[device] = book.seen[device]
        self._end_waits()

    def judge_again(self, device: DeviceId) -> None:
        """Tell by the headroom of another configuration whether memory is low."""
        measured = self._books.measured[device]
        if measured.free >= self._headroom[device]:
            measured.low_since = None
        elif not is_leaving(device, measured, self._verbs.holding()):
            since = measured.low_since
            measured.low_since = self._books.now if since is None else since

    def forget(self, device: DeviceId) -> None:
        """Forget what was measured: there is nothing to wait for any more."""
        self._books.measured.pop(device, None)
        self._verbs.room_changed = True
        self._end_waits()

    # Sleep

    def slept(self, book: ServiceBook, holds: int | None) -> None:
        """Take note that a run sleeps; wait for its memory to be seen free, if it was seen."""
        book.slept = True
        if holds is not None:
            book.learnt.note_asleep(holds)
            self._verbs.touch(book)  # If that is much, promises of its room are void.
        if self._has_let_go(book):
            self._verbs.slept(book)
            return
        self._verbs.arm(book, self._books.now + VERIFY_S)
        seen = (device for device in sorted(book.seen) if device in self._books.measured)
        self._verbs.out.append(fx.MeasureMemory(tuple(filter(is_verifiable, seen))))

    def _has_let_go(self, book: ServiceBook) -> bool:
        """Tell whether a run that sleeps is seen to hold little more than it claims asleep."""
        residue = self._verbs.residue(book) or Placement()
        for device, amount in book.seen.items():
            measured = self._books.measured.get(device)
            if measured is None or book.run is None or not is_verifiable(device):
                continue
            over = measured.by_run.get(book.run, 0) - residue.on(device)
            if over > (1.0 - VERIFY_PART) * max(0, amount - residue.on(device)):
                return False
        return True

    # The end of a run

    def learn(self, book: ServiceBook, cause: Cause) -> None:
        """Learn from the end of a run what it took, or that it wanted more than it claimed."""
        claimed = book.home or placement_of(book)
        declared = self._declared(book, claimed)
        if declared is None or book.outdated or self._verbs.hosts.is_shared(book):
            return  # What is measured of a server with models is not its own alone.
        if cause.out_of_memory and book.state is not State.STOPPING:
            book.learnt.note_out_of_memory(declared, claimed)
        elif book.proved:
            # Who declares nothing is asked for no main memory: every process takes some.
            seen = {one: n for one, n in book.proved.items() if declared.amounts or one != RAM}
            book.learnt.note_peak(declared, seen)

    def _declared(self, book: ServiceBook, claimed: Placement) -> Placement | None:
        """Return what the configuration says of the place where a service runs; None: nothing."""
        declared = self._verbs.specs[book.id].placements
        for placement in declared:
            if placement.devices == claimed.devices:
                return placement
        # It claims what was learnt, where the configuration says nothing.
        return next((placement for placement in declared if not placement.amounts), None)

    def verify(self, book: ServiceBook, why: str) -> None:
        """Wait for the memory of a run that is gone to be seen free, if it was ever seen."""
        devices = tuple(
            device
            for device in sorted(book.seen)
            if device in self._books.measured and is_verifiable(device)
        )
        if not devices:
            self.verified(book, why)
            return
        self._verbs.move(book, Step.VERIFY, why)
        if self._is_back(book):
            self.verified(book, why)  # The gauge saw it before we were told.
            return
        self._verbs.arm(book, self._books.now + VERIFY_S)
        self._verbs.out.append(fx.MeasureMemory(devices))

    def verified(self, book: ServiceBook, why: str) -> None:
        """Give the claim of a run back that is gone."""
        if book.fails and book.cause is not None:
            self._verbs.fail(book, book.cause)
        else:
            self._verbs.move(book, Step.GONE, why)
            self._verbs.refuse_lost(book)  # What ran it may have gone away meanwhile.

    def _end_waits(self) -> None:
        for book in self._books.services.values():
            if book.state is State.VERIFYING and self._is_back(book):
                self.verified(book, book.why)
            elif book.slept and self._has_let_go(book):
                self._verbs.slept(book)

    def _is_back(self, book: ServiceBook) -> bool:
        """Tell whether the memory of a run that is gone is seen free, or can never be."""
        holding = self._verbs.holding()
        for device, amount in book.seen.items():
            measured = self._books.measured.get(device)
            if measured is None or measured.calm is None or not is_verifiable(device):
                continue
            missing = unclaimed(device, measured, holding).foreign - measured.calm
            if missing > (1.0 - VERIFY_PART) * amount:
                return False
        return True
