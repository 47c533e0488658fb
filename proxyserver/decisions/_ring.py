"""The last decisions, as many as may be kept: what comes is noted, what is asked for is found."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from heapq import merge

import attrs
import trio

from proxycore import (
    Admit,
    Changed,
    DeviceId,
    Effect,
    Explained,
    Refuse,
    ServiceId,
    Started,
    Stay,
    TicketId,
    Valued,
    Waiting,
    Want,
)

from . import _words
from ._decision import Candidate, Decision, Kind, Room, kind_of

DECISIONS_MAX = 1000
"""On services, and as many on requests: a crowd of waiters pushes out no eviction."""


@attrs.frozen
class _Waiter:
    service: ServiceId
    since_at: float
    request: str | None


class Decisions:
    """Remembers what the core decided, with all that it said about it.

    A request that is admitted at once leaves nothing here.

    Args:
        policy: the name of who values candidates; it may be replaced.
        counted: the devices that have no bytes, but places for models.
        decisions_max: how many are kept on services, and how many on requests.
        clock: the Unix time.
    """

    def __init__(
        self,
        policy: str,
        *,
        counted: Collection[DeviceId] = (),
        decisions_max: int = DECISIONS_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self._counted = counted
        self._clock = clock
        self._count = 0
        self._now = self._at = float("nan")
        self._on_services: deque[Decision] = deque(maxlen=decisions_max)
        self._on_requests: deque[Decision] = deque(maxlen=decisions_max)
        self._waiters: dict[TicketId, _Waiter] = {}
        self._news: trio.Event | None = None
        """Set at the next decision; None: nobody follows."""

    def note(
        self, effects: Iterable[Effect], now: float, request_of: Callable[[TicketId], str | None]
    ) -> None:
        """Remember what the core has just decided.

        Args:
            effects: all of them, in order.
            now: the core's time.
            request_of: tells the id of the request that has a ticket.
        """
        for effect in effects:
            match effect:
                case Admit() | Started():
                    if effect.ticket in self._waiters:
                        self._admitted(effect, now)
                case Waiting():
                    self._waits(effect, now, request_of(effect.ticket))
                case Refuse():
                    self._refused(effect, now, request_of(effect.ticket))
                case Explained():
                    self._evicted(effect, now)
                case Changed():
                    self._changed(effect, now)
                case _:
                    pass  # The order that follows from a step: the step says why.

    def left(self, ticket: TicketId, now: float) -> None:
        """Remember that who asked does not wait any more, if it did."""
        waiter = self._waiters.pop(ticket, None)
        if waiter is not None:
            waited_s = now - waiter.since_at
            self._on_requests.append(
                Decision(
                    *self._stamp(now),
                    Kind.LEAVE,
                    waiter.service,
                    f"the client left after {waited_s:.1f} s",
                    ticket=ticket,
                    request=waiter.request,
                    waited_s=waited_s,
                )
            )

    def find(
        self,
        *,
        service: ServiceId | None = None,
        ticket: TicketId | None = None,
        request: str | None = None,
        kind: Kind | None = None,
        limit: int = DECISIONS_MAX,
    ) -> list[Decision]:
        """Return the last decisions that are about all of this, the newest last.

        One that makes a service leave is about it too.
        """
        found = deque(
            (
                one
                for one in merge(self._on_services, self._on_requests, key=lambda one: one.number)
                if (service is None or one.concerns(service))
                and ticket in (None, one.ticket)
                and request in (None, one.request)
                and kind in (None, one.kind)
            ),
            maxlen=limit,
        )
        return list(found)

    @property
    def last(self) -> int:
        """Return the number of the last decision."""
        return self._count

    async def follow(self, after: int, quiet_s: float) -> AsyncGenerator[Decision | None, None]:
        """Yield the decisions after this number, and those that come, for ever.

        Who reads so slowly that some are gone sees a gap in the numbers.

        Args:
            after: the number.
            quiet_s: when nothing has come for so long, None is yielded.
        """
        while True:
            kept = merge(self._on_services, self._on_requests, key=lambda one: one.number)
            for one in [one for one in kept if one.number > after]:
                after = one.number
                yield one
            if self._count <= after:
                news = self._news = trio.Event() if self._news is None else self._news
                with trio.move_on_after(quiet_s) as scope:
                    await news.wait()
                if scope.cancelled_caught:
                    yield None

    def _waits(self, effect: Waiting, now: float, request: str | None) -> None:
        service = effect.service
        self._waiters[effect.ticket] = _Waiter(service, now, request)
        self._on_requests.append(
            Decision(
                *self._stamp(now),
                Kind.WAIT,
                service,
                _words.waits(effect, self._counted, now),
                ticket=effect.ticket,
                request=request,
                position=effect.position,
                room=self._room(effect.want, now),
            )
        )

    def _admitted(self, effect: Admit | Started, now: float) -> None:
        waiter = self._waiters.pop(effect.ticket)
        waited_s = now - waiter.since_at
        self._on_requests.append(
            Decision(
                *self._stamp(now),
                Kind.ADMIT,
                effect.service,
                f"{effect.service} has a place for it after {waited_s:.1f} s",
                run=effect.run,
                ticket=effect.ticket,
                request=waiter.request,
                waited_s=waited_s,
            )
        )

    def _refused(self, effect: Refuse, now: float, request: str | None) -> None:
        waiter = self._waiters.pop(effect.ticket, None)
        self._on_requests.append(
            Decision(
                *self._stamp(now),
                Kind.REFUSE,
                effect.service,
                effect.message,
                ticket=effect.ticket,
                request=request,
                reason=effect.reason.value,
                waited_s=0.0 if waiter is None else now - waiter.since_at,
                room=self._room(effect.want, now),
            )
        )

    def _evicted(self, effect: Explained, now: float) -> None:
        self._on_services.append(
            Decision(
                *self._stamp(now),
                Kind.EVICT,
                effect.service,
                _words.evicts(effect.service, effect.victims, effect.want, self._counted),
                room=self._room(effect.want, now, effect.victims),
            )
        )

    def _changed(self, effect: Changed, now: float) -> None:
        kind = kind_of(effect.old, effect.new)
        self._on_services.append(
            Decision(
                *self._stamp(now),
                kind,
                effect.service,
                _words.step(kind, effect.service, effect.why),
                run=effect.run,
            )
        )

    def _room(
        self, want: Want | None, now: float, victims: tuple[Valued, ...] | None = None
    ) -> Room | None:
        if want is None:
            return None
        to_unix = self._unix(now) - now
        ways = {one.run: "sleeps" if one.sleeps else "leaves" for one in victims or ()}
        candidates = []
        for one in want.holders:
            way = None if one.run is None else ways.get(one.run)
            fate = way or _fate(one.stays, others_do=victims is not None)
            candidates.append(
                Candidate(
                    service=one.service,
                    run=one.run,
                    claim=self._bytes(one.claim.amounts),
                    fate=fate,
                    why=_words.fate(one, fate, now),
                    until=None if one.until_at is None else one.until_at + to_unix,
                    value=one.value,
                    load_s=one.load_s,
                    requests=one.requests,
                    idle_s=one.idle_s,
                )
            )
        return Room(
            need=self._bytes(want.placement.amounts),
            free=self._bytes(want.free),
            foreign=dict(want.foreign),
            candidates=tuple(candidates),
            patient_until=want.patient_until + to_unix,
            policy=self.policy,
        )

    def _bytes(self, amounts: Iterable[tuple[DeviceId, int]]) -> dict[DeviceId, int]:
        return {device: amount for device, amount in amounts if device not in self._counted}

    def _stamp(self, now: float) -> tuple[int, float]:
        self._count += 1
        if self._news is not None:  # What it is the number of is there before they look.
            self._news.set()
            self._news = None
        return self._count, self._unix(now)

    def _unix(self, now: float) -> float:
        """Return the Unix time; it is one and the same for all that was decided at once."""
        if now != self._now:
            self._now, self._at = now, self._clock()
        return self._at


def _fate(stays: Stay | None, *, others_do: bool) -> str:
    if stays is not None:
        return stays.value
    return "spared" if others_do else "not_enough"
