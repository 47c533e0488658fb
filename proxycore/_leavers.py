"""Who may leave to make room, what that would cost, and who is spared for a moment."""

from collections.abc import Container, Iterable, Iterator

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
        """Return what may leave to make room, and how, valued by the policy.

        Idle runs, awake or asleep, and loads that nobody waits for any more.  If it is told who
        seeks the room, also runs that serve, and those asleep who have no room to wake.
        """
        books = self._verbs.books
        leavers = [book for book in self._services.values() if self._may_leave(book, seeker)]
        ways = [(book, *way) for book in leavers for way in self._ways(book)]
        found = [
            Idle(
                service=book.id,
                placement=self.memory(frees),
                load_s=load_s,
                requests=book.learnt.requests(books.now),
                idle_s=0.0 if self._hosts.is_serving(book) else books.now - book.rested_at,
                rent=books.rent - book.learnt.rent,
            )
            for book, frees, load_s, _ in ways
        ]
        values = safe_values(self._policy, found)
        return [
            Candidate(
                book.id,
                frees,
                value,
                tuple(model.id for model in self._hosts.models(book) if model.state in HOLDING),
                load_s,
                sleeps,
            )
            for (book, frees, load_s, sleeps), value in zip(ways, values, strict=True)
        ]

    def _ways(self, book: ServiceBook) -> Iterator[tuple[Placement, float, bool]]:
        """Yield how a run may leave: what that frees, what it takes to undo, whether it sleeps."""
        takes = self._verbs.takes(book)
        load_s, wake_s = self._verbs.load_s(book), self._verbs.wake_s(book)
        if book.state is State.ASLEEP:
            yield takes, max(0.0, load_s - wake_s), False
            return
        residue = self._verbs.residue(book)
        if book.state is State.READY and residue is not None:
            yield takes.less(residue), wake_s, True
        yield takes, load_s, False

    def _may_leave(self, book: ServiceBook, seeker: ServiceBook | None) -> bool:
        """Tell whether a run may leave; a host only if all that it holds may."""
        if self._specs[book.id].pinned or book.lost is not None or not self._hosts.is_open(book):
            return False
        if book.state is State.READY:
            may_leave = self._hosts.unused(book) or (
                seeker is not None and self._may_drain(book, seeker)
            )
        elif book.state is State.ASLEEP:
            may_leave = book.unused or (seeker is not None and book is not seeker)
        else:
            begins = book.state in (State.STARTING, State.WAKING)
            may_leave = begins and self._hosts.unused(book) and not book.kept
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
                model.promised is not None
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

    def spared_until(
        self, patient: ServiceBook, candidates: Iterable[Candidate]
    ) -> dict[tuple[ServiceId, bool], float]:
        """Return who is likely to be wanted again in a moment, by which way, and until when.

        Two agents that take turns would else make it load for each of their questions.  Who would
        wake in a moment is not spared from sleeping.
        """
        spared: dict[tuple[ServiceId, bool], float] = {}
        if not self._verbs.config.linger:
            return spared
        for one in candidates:
            book = self._services[one.service]
            gap_s = book.learnt.return_gap_s
            if book.state not in (State.READY, State.ASLEEP) or gap_s is None:
                continue
            until = book.rested_at + LINGER_GAPS * gap_s
            cost_s = gap_s * self._hosts.waiters(patient)
            if cost_s <= LINGER_LOADS * one.load_s and self._verbs.books.now < until:
                spared[one.service, one.sleeps] = until
        return spared

    def charge_rent(self, victims: Iterable[Candidate]) -> None:
        """Let everybody pay as much for a byte as the dearest of the victims still had for his."""
        books = self._verbs.books
        for victim in victims:
            size = sum(amount for _, amount in self.memory(victim.placement).amounts)
            if size:
                paid = self._services[victim.service].learnt.rent
                books.rent = max(books.rent, paid + victim.load_s / size)

    def memory(self, placement: Placement) -> Placement:
        """Return what of a claim is memory: policies know no other."""
        if self._bytes.issuperset(placement.devices):
            return placement
        return Placement.of((one, n) for one, n in placement.amounts if one in self._bytes)


def without(
    spared: Container[tuple[ServiceId, bool]], candidates: list[Candidate]
) -> list[Candidate]:
    """Leave out the spared, and who would take one of them along."""
    return [
        one
        for one in candidates
        if (one.service, one.sleeps) not in spared
        and not any((model, False) in spared for model in one.takes_along)
    ]
