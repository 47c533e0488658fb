"""What has become possible: admit who waits, end drains, make room for the first in line."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from . import _explain
from . import effects as fx
from ._books import ServiceBook
from ._claims import promised_to
from ._ids import ServiceId
from ._leavers import Leavers, without
from ._ledger import Candidate, Room, cheapest_victims
from ._lifecycle import State
from ._line import Line
from ._memory import LEAVING, LOW_S, is_verifiable
from ._verbs import Verbs, run_of
from .config import GIB, Placement
from .policy import EvictionPolicy


class Settler:
    """Brings the books to rest after an event; a second time it would find nothing to do."""

    def __init__(self, verbs: Verbs, policy: EvictionPolicy) -> None:
        self._verbs = verbs
        self._specs = verbs.specs
        self._services: Mapping[ServiceId, ServiceBook] = verbs.books.services
        self._hosts = verbs.hosts
        self._line = Line(verbs)
        self._leavers = Leavers(verbs, self._line, policy)
        self._wanting = {
            book.id: book for book in self._services.values() if self._hosts.wants_room(book)
        }
        """Who was promised room or waits for it, in no order that means anything."""

    def settle(self) -> None:
        """Do all that has become possible, until nothing changes any more.

        Void promises are taken back first, which may let drained runs serve again; room is made
        last, because serving may leave some.  Only services that were touched are looked at, and
        room is made only if somebody wants it: what an event costs does not grow with what it
        does not concern.
        """
        verbs, wanting = self._verbs, self._wanting
        while verbs.touched or verbs.room_changed:
            while wanting and self._release_void():
                pass
            for book in verbs.touched.values():
                self._serve(book)  # That touches no other service than those looked at as well.
                if self._hosts.wants_room(book):
                    wanting[book.id] = book
                else:
                    wanting.pop(book.id, None)
            verbs.touched.clear()
            verbs.room_changed = False
            verbs.books.reconsider_at = None
            self._relieve()
            if wanting:
                now_free, promisable = verbs.rooms()
                self._take_promised(now_free)
                if not verbs.touched:  # Who launches may leave others to serve again.
                    self._make_room(now_free, promisable)

    def _serve(self, book: ServiceBook) -> None:
        if book.state is State.READY:
            if book.waiting and self._hosts.is_open(book):
                self._admit(book)
            self._verbs.rest(book)
        elif book.state is State.ASLEEP:
            self._verbs.rest(book)
        elif book.state is not State.DRAINING or self._hosts.is_serving(book):
            pass
        elif book.drains_to_sleep:
            self._verbs.sleep(book, book.why)
        else:
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

    def _promised(self) -> list[ServiceBook]:
        """Return those who were promised room, in the order of the promises."""
        promised = [book for book in self._wanting.values() if book.promised is not None]
        return sorted(promised, key=lambda book: book.promised_order)

    def _release_void(self) -> bool:
        """Take back one promise that nobody needs or that cannot be kept; tell if there was any."""
        promised = self._promised()
        if not promised:
            return False
        for book in promised:
            if book.state is State.ROUSING:
                [book.promised] = self._verbs.needs(book)  # What it holds asleep may have changed.
        _, promisable = self._verbs.rooms()
        for book in reversed(promised):
            if (why := self._is_void(book, promisable)) is not None:
                self._verbs.release(book, why)
                return True
        return False

    def _is_void(self, book: ServiceBook, promisable: Room) -> str | None:
        """Tell why a promise is to be taken back; None: it holds."""
        if not self._hosts.waiters(book):
            return "nobody waits for it any more"
        if not self._hosts.is_open(book):
            return "its host is leaving"
        if any(promisable.free[device] < 0 for device in promised_to(book).devices):
            return "the room that it was promised does not come"
        return None

    def _take_promised(self, now_free: Room) -> None:
        """Launch and wake, in the order of the promises, those whose room has come."""
        for book in self._promised():
            placement = promised_to(book)
            if self._may_begin(book, now_free):
                self._verbs.take_promised(book)
            # A later one must not take what an earlier one is still gathering.
            now_free.take(placement)

    def _may_begin(self, book: ServiceBook, now_free: Room) -> bool:
        placement = promised_to(book)
        if not now_free.fits(placement):
            return False
        # Who ran out of memory waits for all who leave for his sake.
        return not book.retries or not any(
            other.state in LEAVING
            and other.placement is not None
            and shares(self._leavers.memory(other.placement), self._leavers.memory(placement))
            for other in self._services.values()
        )

    def clear(self, book: ServiceBook, where: Placement) -> None:
        """Let every idle run leave that is where a service ran out of memory."""
        for candidate in self._leavers.candidates():
            leaver = self._services[candidate.service]
            # Who lives in one that left just now is leaving already.
            leaves = leaver.state is State.STOPPING or candidate.sleeps
            if not leaves and shares(
                self._leavers.memory(candidate.placement), self._leavers.memory(where)
            ):
                self._verbs.stop(leaver, f"room for {book.id}, which ran out of memory")

    def _relieve(self) -> None:
        """Stop the cheapest idle run of a device that has been short of memory for long."""
        for device, measured in self._verbs.books.measured.items():
            if measured.low_since is None:
                continue
            if self._verbs.books.now < measured.low_since + LOW_S:
                self._reconsider(measured.low_since + LOW_S)
                continue
            candidates = self._leavers.candidates()
            values = {one.service: one.value for one in candidates if not one.sleeps}
            costs = [
                (
                    one.value + sum(values[inside] for inside in one.takes_along),
                    one.service,
                    not one.sleeps,
                )
                for one in candidates
                if one.placement.on(device)
            ]
            if costs:
                _, cheapest, stops = min(costs)
                why = f"only {measured.free / GIB:.1f} GiB free on {device}"
                leave = self._verbs.stop if stops else self._verbs.sleep
                leave(self._services[cheapest], why)

    def _make_room(self, now_free: Room, promisable: Room) -> None:
        """Promise room to those who wait for it, the first in line first.

        Who cannot be helped is passed over, nobody leaves for him, and others go ahead; but once
        his patience is over, they may not take what he will need.
        """
        wanting = [book for book in self._wanting.values() if _lacks_room(book)]
        for book in sorted(wanting, key=self._line.place):
            fitted = any(map(promisable.fits, self._verbs.needs(book)))
            placement = self._find_place(book, promisable)
            if placement is None:
                if book.state is State.STOPPING:
                    return  # It moves: settling begins again.
                continue
            promisable.take(placement)
            self._verbs.reserve(book, placement)
            if self._may_begin(book, now_free):
                self._verbs.take_promised(book)
            now_free.take(placement)
            if not fitted:
                # Who leaves for one may leave more room than that, for those before him for whom
                # he was spared: settling begins again.
                return

    def _find_place(self, book: ServiceBook, promisable: Room) -> Placement | None:
        """Return which room a service may have, making it if that may be."""
        needs = self._verbs.needs(book)
        fitting = [one for one in needs if promisable.fits(one)]
        if fitting:
            return min(fitting, key=promisable.left_by)
        if self._line.is_patient(book):
            every = self._leavers.candidates()
            spared_until = self._leavers.spared_until(book, every)
            candidates = without(spared_until, every)
            placement = self._evict_for(book, promisable, candidates)
            if placement is None and not self._is_moved(book, promisable, candidates):
                self._reconsider(min([self._line.patient_until(book), *spared_until.values()]))
            return placement
        placement = self._evict_for(book, promisable, self._leavers.candidates())
        if placement is not None:
            return placement
        candidates = self._leavers.candidates(seeker=book)
        placement = self._evict_for(book, promisable, candidates)
        if placement is not None or self._is_moved(book, promisable, candidates):
            return placement
        if self._fits_some_day(book):
            promisable.take(min(needs, key=lambda one: sum(promisable.shortfall(one).values())))
        return None

    def _is_moved(
        self, book: ServiceBook, promisable: Room, candidates: Sequence[Candidate]
    ) -> bool:
        """Stop a run that cannot wake where it sleeps, if the service could start elsewhere."""
        if book.state is not State.ASLEEP or book.lost is not None:
            return False
        room = promisable.copy()
        room.give(self._verbs.takes(book))
        short = map(room.shortfall, self._verbs.placements(book))
        if all(cheapest_victims(one, candidates) is None for one in short):
            return False
        self._verbs.stop(book, "there is no room to wake it, but some to start it elsewhere")
        return True

    def _fits_some_day(self, book: ServiceBook) -> bool:
        """Tell whether a service would fit if all left that ever may."""
        room = self._room_at_most(book)
        return any(room.fits(placement) for placement in self._verbs.placements(book))

    def _room_at_most(self, book: ServiceBook) -> Room:
        """Return what a service could have if all left that ever may."""
        room = Room.of(self._verbs.config.devices)
        for other in self._services.values():
            stays = other is not book and self._must_stay(other, book)
            if other.placement is not None and stays:
                room.take(other.placement)
        for device, foreign in self._verbs.strangers().items():
            room.lose(device, foreign)
        return room

    def _must_stay(self, other: ServiceBook, book: ServiceBook) -> bool:
        """Tell whether a run, or a model inside it, never leaves for a service."""
        held = [one for one in self._hosts.with_models(other) if one.placement is not None]
        return other is self._hosts.host_of(book) or any(
            self._specs[one.id].pinned or one.lost is not None for one in held
        )

    def _reconsider(self, at: float) -> None:
        books = self._verbs.books
        books.reconsider_at = at if books.reconsider_at is None else min(books.reconsider_at, at)

    def _evict_for(
        self, book: ServiceBook, promisable: Room, candidates: list[Candidate]
    ) -> Placement | None:
        """Let the cheapest set leave that makes room, and return where; None if no set does."""
        plans = []
        for order, placement in enumerate(self._verbs.needs(book)):
            victims = cheapest_victims(promisable.shortfall(placement), candidates)
            if victims is not None:
                value = sum(victim.value for victim in victims)
                plans.append((value, len(victims), order, placement, victims))
        if not plans:
            return None
        *_, placement, victims = min(plans, key=lambda plan: plan[:3])
        leaving = [victim.service for victim in victims]
        spared = [one for one in candidates if one.service not in leaving]
        self._verbs.out.append(
            fx.Explained(
                book.id,
                placement,
                tuple(map(self._valued, victims)),
                tuple(map(self._valued, spared)),
                self._want(book, placement, promisable, candidates),
            )
        )
        self._leavers.charge_rent(victims)
        along = [service for victim in victims for service in victim.takes_along]
        for victim in victims:
            leaver = self._services[victim.service]
            if leaver.id in along:
                pass  # It leaves with its host.
            elif leaver.state is State.READY and not self._hosts.unused(leaver):
                self._verbs.drain_for(leaver, book, to_sleep=victim.sleeps)
            elif victim.sleeps:
                self._verbs.sleep(leaver, f"room for {book.id}")
            else:
                self._verbs.stop(leaver, f"room for {book.id}")
        return placement

    def _valued(self, one: Candidate) -> fx.Valued:
        run = run_of(self._services[one.service])
        return fx.Valued(one.service, run, one.value, one.sleeps)

    def want(self, book: ServiceBook) -> fx.Want:
        """Tell why a service that waits for room has none."""
        _, promisable = self._verbs.rooms()
        candidates = self._leavers.candidates()
        room = promisable.copy()
        for candidate in candidates:
            if not candidate.sleeps:
                room.give(candidate.placement)
        needs = self._verbs.needs(book)
        placement = min(needs, key=lambda one: sum(room.shortfall(one).values()))
        return self._want(book, placement, promisable, candidates)

    def at_most(self, book: ServiceBook) -> fx.Want:
        """Tell what a service needs, and what it could have if all left that ever may."""
        return _explain.at_most(self._verbs, book, self._room_at_most(book))

    def _want(
        self,
        book: ServiceBook,
        placement: Placement,
        promisable: Room,
        candidates: Iterable[Candidate],
    ) -> fx.Want:
        every = self._leavers.candidates() if self._line.is_patient(book) else []
        spared_until = self._leavers.spared_until(book, every)
        may_leave = {one.service for one in every if (one.service, one.sleeps) not in spared_until}
        return _explain.want(
            self._verbs,
            book,
            placement,
            promisable,
            candidates=candidates,
            spared_until={
                service: until
                for (service, _), until in spared_until.items()
                if service not in may_leave
            },
            patient_until=self._line.patient_until(book),
        )

    def lack(self, book: ServiceBook) -> str:
        """Say what the best placement would lack even if all that may be stopped were."""
        _, promisable = self._verbs.rooms()
        if any(map(promisable.fits, self._verbs.needs(book))):
            return "what is free is kept for who is first in line"
        for candidate in self._leavers.candidates():
            if not candidate.sleeps:
                promisable.give(candidate.placement)
        lacks = [promisable.shortfall(one) for one in self._verbs.needs(book)]
        least = min(lacks, key=lambda lack: sum(lack.values()))
        if not least:
            return "what could leave for it is likely to be wanted in a moment"
        return _explain.short(self._verbs, least, self._verbs.strangers())


def shares(one: Placement, other: Placement) -> bool:
    """Tell whether two placements have a device in common: a GPU, if they use any.

    Everything uses main memory, so it counts only where nothing else is used.
    """
    devices = [device for device in other.devices if is_verifiable(device)] or other.devices
    return any(one.on(device) for device in devices)


def _lacks_room(book: ServiceBook) -> bool:
    """Tell whether it is room that a wanted service lacks, and nothing else."""
    return book.state is State.ASLEEP or (book.state is State.DOWN and book.lost is None)
