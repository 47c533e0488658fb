"""Who may leave to make room, what that would cost, and who is spared for a moment."""

from collections.abc import Container, Iterable

from ._books import ServiceBook
from ._ids import ServiceId
from ._ledger import Candidate
from ._lifecycle import HOLDING, State
from ._line import Line
from ._verbs import Verbs
from .config import Placement, Unit
from .policy import EvictionPolicy, Idle, safe_values

LINGER_GAPS = 2.0
LINGER_LOADS = 0.5
"""An idle run is spared for two of its usual return gaps, if that costs those who want its room
less than half of what it takes to load it again.

Up to 6 times the throughput for closed sessions, at most 3 % mean wait for open ones (simulated).
"""


class Leavers:
    """Candidates for making room, valued by the policy; it changes nothing but the rent."""

    def __init__(self, verbs: Verbs, line: Line, policy: EvictionPolicy) -> None:
        self._verbs = verbs
        self._specs = verbs.specs
        self._services = verbs.books.services
        self._hosts = verbs.hosts
        self._line = line
        self._policy = policy
        self._bytes = {one.id for one in verbs.config.devices if one.unit is Unit.BYTES}
        """For membership tests only: a set has no order."""

    def candidates(self, *, seeker: ServiceBook | None = None) -> list[Candidate]:
        """Return what may leave to make room, valued by the policy.

        Idle runs, loads that nobody waits for any more, and, if it is told who seeks the room,
        runs that serve.
        """
        books = self._verbs.books
        leavers = [book for book in self._services.values() if self._may_leave(book, seeker)]
        claims = [self._verbs.takes(book) for book in leavers]
        found = [
            Idle(
                service=book.id,
                placement=self.memory(claim),
                load_s=self._verbs.load_s(book),
                requests=book.learnt.requests(books.now),
                idle_s=0.0 if self._hosts.is_serving(book) else books.now - book.rested_at,
                rent=books.rent - book.learnt.rent,
            )
            for book, claim in zip(leavers, claims, strict=True)
        ]
        values = safe_values(self._policy, found)
        return [
            Candidate(
                book.id,
                claim,
                value,
                tuple(model.id for model in self._hosts.models(book) if model.state in HOLDING),
            )
            for book, claim, value in zip(leavers, claims, values, strict=True)
        ]

    def _may_leave(self, book: ServiceBook, seeker: ServiceBook | None) -> bool:
        """Tell whether a run may leave; a host only if all that it holds may."""
        if self._specs[book.id].pinned or book.lost is not None or not self._hosts.is_open(book):
            return False
        if book.state is State.READY:
            may_leave = self._hosts.unused(book) or (
                seeker is not None and self._may_drain(book, seeker)
            )
        else:
            may_leave = book.state is State.STARTING and self._hosts.unused(book) and not book.kept
        return may_leave and all(
            self._may_leave(model, seeker)
            for model in self._hosts.models(book)
            if model.state in HOLDING
        )

    def _may_drain(self, book: ServiceBook, seeker: ServiceBook) -> bool:
        """Tell whether a run that serves may leave for one who seeks room.

        It has served its batch; and of its models none was promised room, and none who waits for
        room is before the seeker: he would have loaded the host for nothing.
        """
        return (
            self._has_served_batch(book)
            and book is not self._hosts.host_of(seeker)
            and not any(
                model.state is State.RESERVED
                or (
                    model.state is State.DOWN
                    and model.waiting
                    and self._line.place(model) < self._line.place(seeker)
                )
                for model in self._hosts.models(book)
            )
        )

    def _has_served_batch(self, book: ServiceBook) -> bool:
        """Tell whether a load has served those it was made for.

        Without this rule loads could be traded for loads for ever: it livelocked in 4 of 30
        simulated runs (docs/architecture.md, "Waiting").
        """
        return not book.waiting or book.first_in_line.id > book.batch_max

    def spared_until(self, patient: ServiceBook) -> dict[ServiceId, float]:
        """Return the idle runs that are likely to be wanted again in a moment, and until when.

        Two agents that take turns would else make it load for each of their questions.
        """
        spared: dict[ServiceId, float] = {}
        if not self._verbs.config.linger:
            return spared
        for book in self._services.values():
            gap_s = book.learnt.return_gap_s
            if book.state is not State.READY or gap_s is None:
                continue
            load_s = self._verbs.load_s(book)
            until = book.rested_at + LINGER_GAPS * gap_s
            cost_s = gap_s * self._hosts.waiters(patient)
            if cost_s <= LINGER_LOADS * load_s and self._verbs.books.now < until:
                spared[book.id] = until
        return spared

    def charge_rent(self, victims: Iterable[Candidate]) -> None:
        """Let everybody pay as much for a byte as the dearest of the victims still had for his."""
        books = self._verbs.books
        for victim in victims:
            size = sum(amount for _, amount in self.memory(victim.placement).amounts)
            leaver = self._services[victim.service]
            if size:
                rent = leaver.learnt.rent + self._verbs.load_s(leaver) / size
                books.rent = max(books.rent, rent)

    def memory(self, placement: Placement) -> Placement:
        """Return what of a claim is memory: policies know no other."""
        if self._bytes.issuperset(placement.devices):
            return placement
        return Placement.of((one, n) for one, n in placement.amounts if one in self._bytes)


def without(spared: Container[ServiceId], candidates: list[Candidate]) -> list[Candidate]:
    """Leave out the spared, and who would take one of them along."""
    return [
        one
        for one in candidates
        if not any(service in spared for service in (one.service, *one.takes_along))
    ]
