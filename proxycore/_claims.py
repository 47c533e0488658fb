"""What services claim, hold, need and are expected to take: questions that change nothing."""

from ._books import Books, ServiceBook
from ._errors import InvariantError
from ._hosts import Hosts
from ._ids import DeviceId, RunId, ServiceId
from ._ledger import Room
from ._lifecycle import HOLDING, State
from ._memory import Holding, unclaimed
from .config import CoreConfig, Placement, ServiceSpec

OVERDUE_KILLS = 2
"""A run that outlived so many kills is not counted on to leave: promises of its room are void."""


class Claims:
    """Adds up what there is, by the configuration, the books and what was measured."""

    def __init__(self, config: CoreConfig, books: Books) -> None:
        self.config = config
        self.specs: dict[ServiceId, ServiceSpec] = {spec.id: spec for spec in config.services}
        self.specs |= {
            book.id: book.retired for book in books.services.values() if book.retired is not None
        }
        self.books = books
        self.hosts = Hosts(self.specs, books.services)

    def rooms(self) -> tuple[Room, Room]:
        """Return what is free now, and what is free or about to be, and not promised.

        The claim of a run counts until it is gone.
        """
        now_free = Room.of(self.config.devices)
        promisable = Room.of(self.config.devices)
        for book in self.books.services.values():
            if book.promised is not None:
                promisable.take(book.promised)
            if book.placement is not None:
                now_free.take(book.placement)
                promisable.take(self._stays(book))
        if self.books.measured:
            holding = self.holding()
            for device in self.config.devices:
                if (measured := self.books.measured.get(device.id)) is not None:
                    lacks = device.capacity - measured.total
                    rest = unclaimed(device.id, measured, holding)
                    now_free.lose(device.id, max(0, lacks + rest.now))
                    promisable.lose(device.id, max(0, lacks + rest.later))
        return now_free, promisable

    def foreign(self) -> dict[DeviceId, int]:
        """Return what strangers hold, and will once all that leaves has left, where known."""
        holding = self.holding()
        return {
            device: unclaimed(device, measured, holding).foreign_later
            for device, measured in self.books.measured.items()
        }

    def strangers(self) -> dict[DeviceId, int]:
        """Return what strangers hold of the capacity: a device may have more than is declared."""
        foreign, measured = self.foreign(), self.books.measured
        return {
            device.id: max(0, foreign[device.id] + device.capacity - measured[device.id].total)
            for device in self.config.devices
            if device.id in foreign
        }

    def takes(self, book: ServiceBook) -> Placement:
        """Return what the end of a run would free: what it claims, and what it took beyond.

        Not what its models claim, though they are measured as part of it.
        """
        return self._held(book, book.holds or Placement())

    def _held(self, book: ServiceBook, claim: Placement) -> Placement:
        """Return a claim of a service, raised to what its run was seen to hold."""
        if not self.books.measured:
            return claim
        amounts = dict(claim.amounts)
        family = self._claims(book)
        for device, measured in self.books.measured.items():
            if book.run is not None and (seen := measured.by_run.get(book.run, 0)):
                beyond = seen - sum(one.on(device) for one in family)
                amounts[device] = amounts.get(device, 0) + max(0, beyond)
        return Placement.of(amounts.items())

    def holding(self) -> list[Holding]:
        """Return all runs that have memory."""
        return [
            Holding(
                book.state,
                book.ready_at is not None,
                book.run,
                book.placement,
                self._leaves(book),
                self._host_run(book),
                self._claims(book),
            )
            for book in self.books.services.values()
            if book.placement is not None and book.state in HOLDING
        ]

    def _host_run(self, book: ServiceBook) -> RunId | None:
        host = self.hosts.host_of(book)
        return None if host is None else host.run

    def _claims(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return the claims of a run and of what lives inside it."""
        return tuple(
            one.placement
            for one in self.hosts.with_models(book)
            if one.placement is not None and one.state in HOLDING
        )

    def _leaves(self, book: ServiceBook) -> bool:
        """Tell whether a run is counted on to leave; a model leaves with its host, or alone."""
        host = self.hosts.host_of(book)
        if host is not None and host.state in (State.DRAINING, State.STOPPING):
            book = host
        return book.state in (State.DRAINING, State.SLEEPING, State.VERIFYING) or (
            book.state is State.STOPPING and book.kills < OVERDUE_KILLS
        )

    def _stays(self, book: ServiceBook) -> Placement:
        """Return what a run will still claim once it has left as it is about to."""
        if not self._leaves(book):
            return placement_of(book)
        sleeps = book.state is State.SLEEPING or book.drains_to_sleep
        return (self.residue(book) if sleeps else None) or Placement()

    def residue(self, book: ServiceBook) -> Placement | None:
        """Return what the run of a service claims asleep; None: it cannot sleep."""
        declared = None if book.home is None else self.specs[book.id].residue(book.home)
        if declared is None or book.home is None:
            return None
        return book.learnt.residue(declared, book.home)

    def needs(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return the rooms of which a service that waits for room needs one.

        A run that sleeps needs what it lacks beside all that it holds, in its place alone.
        """
        if book.home is None or book.run is None:
            return self.placements(book)
        return (book.home.less(self._held(book, placement_of(book))),)

    def placements(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return where a service may live, with what it is expected to take there."""
        declared = self.hosts.placements(book)
        if not book.learnt.peaks or self.hosts.is_shared(book):
            return declared
        usable = {device.id: device.usable for device in self.config.devices}
        return tuple(book.learnt.estimate(placement, usable) for placement in declared)

    def ways(self, book: ServiceBook) -> list[tuple[Placement, ...]]:
        """Return all that a service could ever claim, of a model together with its host."""
        host = self.hosts.host_of(book)
        if host is None:
            return [(placement,) for placement in self.placements(book)]
        spec, server = self.specs[book.id], self.specs[host.id]
        return [
            (place, inside)
            for place in server.placements
            for inside in spec.placements_in(server, place)
        ]

    def load_s(self, book: ServiceBook) -> float:
        """Return how long a load of the service is expected to take."""
        return book.learnt.load_s or self.specs[book.id].load_s

    def wake_s(self, book: ServiceBook) -> float:
        """Return how long the service is expected to take to wake."""
        return book.learnt.wake_s or self.specs[book.id].wake_s


def placement_of(book: ServiceBook) -> Placement:
    """Return the claim of a service that must have one."""
    if book.placement is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a placement")
    return book.placement


def promised_to(book: ServiceBook) -> Placement:
    """Return the room that is promised to a service that must have a promise."""
    if book.promised is None:
        raise InvariantError(f"{book.id} is {book.state.value} without a promise")
    return book.promised
