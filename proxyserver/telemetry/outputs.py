"""Follows what services write to their output, bounded, and never in their way.

A run writes into a file or to the engine, whoever reads: a follower that is slow, or pauses, delays
nobody.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Protocol

import attrs
import trio

from proxycore import Changed, RunId, ServiceId, State
from proxyserver.runtime import RuntimeFault

LINES_MAX = 300
"""So many lines of a service are handed on in a second; the others are counted.  A llama-server
says 230 while it starts."""
READ_MAX = 1000
"""So many are read in a second; then the follower pauses, for reading takes time from requests."""
TAIL = 1000
"""So many lines may be there already when a run is first looked at."""
LOOK_S = 0.02
"""How often a run is looked at until it is there."""
AGAIN_S = 1.0
"""When a log has ended and its run has not: the engine was away."""
LAST_S = 10.0
"""So long the lines of a run that is gone are read on."""

_NOTHING_RUNS = frozenset(
    (State.DOWN, State.RESERVED, State.VERIFYING, State.BACKOFF, State.FAILED)
)


class Lines(Protocol):
    """Who has the lines of services."""

    def __call__(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield the last lines of a run, then, if asked, new ones until it ends."""


class Take(Protocol):
    """Who gets them."""

    def line(self, service: ServiceId, run: RunId, line: str) -> None:
        """Take a line."""

    def lost(self, service: ServiceId) -> None:
        """Take note of a line that was too many in its second."""


@attrs.define(eq=False)
class _Followed:
    """One run whose output is followed."""

    service: ServiceId
    run: RunId
    there: bool
    """Whether it has come to be: until then the log of its service may be that of the last one."""
    tail: int
    """How many lines that are there already are new."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    until_at: float = -math.inf
    """When the present second is over."""
    read: int = 0
    """How many lines in this second."""


@attrs.define(eq=False)
class Outputs:
    """Follows the present runs of those services whose output is wanted."""

    _lines: Lines
    _is_there: Callable[[RunId], bool]
    """Tells whether a run that starts has come to be."""
    _wanted: Callable[[ServiceId], bool]
    _take: Take
    _present: dict[ServiceId, tuple[RunId, bool]] = attrs.field(factory=dict, init=False)
    """Each with whether it was seen to start."""
    _followed: dict[RunId, _Followed] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def note(self, changed: Changed) -> None:
        """Take note of a run that came, or went."""
        service, run = changed.service, changed.run
        if run is not None and changed.new not in _NOTHING_RUNS:
            if self._present.get(service, (None, False))[0] != run:
                self._present[service] = run, changed.new is State.STARTING
                self.settle()
            return
        gone, _ = self._present.pop(service, (None, False))
        if gone is not None and (one := self._followed.get(gone)) is not None:
            one.there = one.there or self._is_there(gone)
            one.scope.deadline = trio.current_time() + LAST_S

    def settle(self) -> None:
        """Follow those who are wanted now, and nobody else."""
        if self._nursery is None:
            return
        for one in self._followed.values():
            if not self._wanted(one.service):
                one.scope.cancel()
        for service, (run, starts) in self._present.items():
            if run not in self._followed and self._wanted(service):
                one = _Followed(service, run, not starts, TAIL if starts else 0)
                self._followed[run] = one
                self._nursery.start_soon(self._follow, one)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self.settle()
            await trio.sleep_forever()

    def _lives(self, one: _Followed) -> bool:
        return one.service in self._present and self._present[one.service][0] == one.run

    async def _follow(self, one: _Followed) -> None:
        with one.scope:
            while self._lives(one) and not one.there:
                await trio.sleep(LOOK_S)
                one.there = one.there or self._is_there(one.run)
            while one.there:
                await self._read(one)
                if not self._lives(one):
                    break
                one.tail = 0
                await trio.sleep(AGAIN_S)
        self._tell_lost(one)
        del self._followed[one.run]

    async def _read(self, one: _Followed) -> None:
        """Read until the log ends."""
        lines = self._lines(one.service, one.run, tail=one.tail, follow=True)
        with suppress(RuntimeFault):  # Others tell of it.
            async with aclosing(lines):  # type: ignore[type-var]
                async for line in lines:
                    if one.read >= READ_MAX:
                        await trio.sleep_until(one.until_at)
                    if (now := trio.current_time()) >= one.until_at:
                        self._tell_lost(one)
                        one.until_at, one.read = now + 1.0, 0
                    one.read += 1
                    if one.read <= LINES_MAX:
                        self._take.line(one.service, one.run, line)
                    else:
                        self._take.lost(one.service)

    def _tell_lost(self, one: _Followed) -> None:
        lost = one.read - LINES_MAX
        if lost > 0:
            said = f"({lost} lines are left out here: more than {LINES_MAX} in a second)"
            self._take.line(one.service, one.run, said)
