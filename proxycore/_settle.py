"""What has become possible: admit who waits, end drains, make room for the first in line."""

import itertools
from collections.abc import Iterable, Mapping

from . import effects as fx
from ._books import ServiceBook
from ._ids import ServiceId, TicketId
from ._ledger import Candidate, Room, cheapest_victims
from ._lifecycle import State
from ._verbs import Verbs, placement_of, run_of
from .config import Placement
from .policy import EvictionPolicy, Idle, safe_values


class Settler:
    """Brings the books to rest after an event; a second time it would find nothing to do."""

    def __init__(self, verbs: Verbs, policy: EvictionPolicy) -> None:
        self._verbs = verbs
        self._specs = verbs.specs
        self._services: Mapping[ServiceId, ServiceBook] = verbs.books.services
        self._policy = policy

    def settle(self) -> None:
        """Do all that has become possible.

        One pass is a fixed point: serving never makes room (it can only end a drain, and that
        claim stays until the run is gone), and making room never lets anybody be served.
        """
        wanting = False
        for book in self._services.values():
            if book.state in (State.READY, State.DRAINING):
                self._serve(book)
            wanting |= book.state is State.RESERVED
            wanting |= book.state is State.DOWN and bool(book.waiting)
        if wanting:
            now_free, promisable = self._verbs.rooms()
            self._launch_reserved(now_free, promisable)
            self._make_room(now_free, promisable)

    def _serve(self, book: ServiceBook) -> None:
        if book.state is State.READY:
            self._admit(book)
            self._verbs.rest(book)
        elif not book.in_flight:
            self._verbs.stop(book, book.why)

    def _admit(self, book: ServiceBook) -> None:
        """Admit as many as there are places; the work does not grow with those who wait longer."""
        if book.starts_waiting:
            # A start by hand takes no place, so it need not wait for one.
            for ticket in [one for one in book.waiting.values() if one.by_hand]:
                self._verbs.admit(book, ticket)
        limit = self._specs[book.id].concurrent_max
        places = None if limit is None else max(0, limit - len(book.in_flight))
        for ticket in list(itertools.islice(book.waiting.values(), places)):
            self._verbs.admit(book, ticket)

    def _launch_reserved(self, now_free: Room, promisable: Room) -> None:
        """Launch, in the order of the promises, those whose room has come."""
        reserved = [book for book in self._services.values() if book.state is State.RESERVED]
        reserved.sort(key=lambda book: book.reserved_order)
        for book in reversed(reserved):
            placement = placement_of(book)
            if not book.waiting:
                promisable.give(placement)
                self._verbs.release(book, "nobody waits for it any more")
            elif any(promisable.free[device] < 0 for device in placement.devices):
                promisable.give(placement)
                self._verbs.release(book, "the room that it was promised does not come")
        for book in reserved:
            if book.state is State.RESERVED:
                placement = placement_of(book)
                if now_free.fits(placement):
                    self._verbs.launch(book)
                # A later one must not take what an earlier one is still gathering.
                now_free.take(placement)

    def _make_room(self, now_free: Room, promisable: Room) -> None:
        """Promise room to those who wait for it, the first in line first.

        Who cannot be helped is passed over: nobody is evicted for him, and others go ahead.
        """
        wanting = [
            book
            for book in self._services.values()
            if book.state is State.DOWN and book.waiting and book.lost is None
        ]
        for book in sorted(wanting, key=self._place_in_line):
            fitting = [one for one in self._specs[book.id].placements if promisable.fits(one)]
            if fitting:
                placement = min(fitting, key=promisable.left_by)
            else:
                found = self._evict_for(book, promisable)
                if found is None:
                    continue
                placement = found
            promisable.take(placement)
            self._verbs.reserve(book, placement)
            if now_free.fits(placement):
                self._verbs.launch(book)
            now_free.take(placement)

    def _place_in_line(self, book: ServiceBook) -> tuple[int, TicketId]:
        return (-self._specs[book.id].priority, next(iter(book.waiting)))

    def _evict_for(self, book: ServiceBook, promisable: Room) -> Placement | None:
        """Stop the cheapest set that makes room, and return where; None if no set does."""
        candidates = self._candidates()
        plans = []
        for order, placement in enumerate(self._specs[book.id].placements):
            victims = cheapest_victims(promisable.shortfall(placement), candidates)
            if victims is not None:
                value = sum(victim.value for victim in victims)
                plans.append((value, len(victims), order, placement, victims))
        if not plans:
            return None
        *_, placement, victims = min(plans, key=lambda plan: plan[:3])
        valued = {
            one.service: fx.Valued(one.service, run_of(self._services[one.service]), one.value)
            for one in candidates
        }
        leaving = tuple(valued.pop(victim.service) for victim in victims)
        self._verbs.out.append(fx.Explained(book.id, placement, leaving, tuple(valued.values())))
        self._charge_rent(victims)
        for victim in victims:
            self._verbs.stop(self._services[victim.service], f"room for {book.id}")
            promisable.give(victim.placement)
        return placement

    def _candidates(self) -> list[Candidate]:
        """Return what may be stopped for room, valued by the policy.

        Beside idle runs these are loads that nobody waits for any more.
        """
        books = self._verbs.books
        found = []
        for book in self._services.values():
            spec = self._specs[book.id]
            stoppable = book.state is State.READY or (
                book.state is State.STARTING and not book.kept
            )
            if not stoppable or not book.unused or spec.pinned or book.lost is not None:
                continue
            found.append(
                Idle(
                    service=book.id,
                    placement=placement_of(book),
                    load_s=spec.load_s,
                    requests=book.learnt.requests(books.now),
                    idle_s=books.now - book.rested_at,
                    rent=books.rent - book.learnt.rent,
                )
            )
        values = safe_values(self._policy, found)
        return [
            Candidate(idle.service, idle.placement, value)
            for idle, value in zip(found, values, strict=True)
        ]

    def _charge_rent(self, victims: Iterable[Candidate]) -> None:
        """Let everybody pay as much for a byte as the dearest of the victims still had for his."""
        books = self._verbs.books
        for victim in victims:
            size = sum(amount for _, amount in victim.placement.amounts)
            load_s, paid = (
                self._specs[victim.service].load_s,
                self._services[victim.service].learnt.rent,
            )
            books.rent = max(books.rent, paid + load_s / size)

    def lack(self, book: ServiceBook) -> str:
        """Say what the best placement would lack even if all that may be stopped were."""
        _, promisable = self._verbs.rooms()
        for candidate in self._candidates():
            promisable.give(candidate.placement)
        lacks = [promisable.shortfall(one) for one in self._specs[book.id].placements]
        least = min(lacks, key=lambda lack: sum(lack.values()))
        return ", ".join(
            f"{amount / 2**30:.1f} GiB more needed on {device}" for device, amount in least.items()
        )
