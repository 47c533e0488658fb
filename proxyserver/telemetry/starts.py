"""Follows starts and wakes, from the promise of room to the first answer, phase by phase."""

from collections.abc import Callable

import attrs

from proxycore import Changed, RunId, ServiceId, State
from proxyserver.milestones import Milestones

PULL_KEPT_S = 10.0
"""A pull that ended longer ago than this belongs to no start that begins now."""


@attrs.frozen
class Phase:
    name: str
    from_at: float
    to_at: float

    @property
    def duration_s(self) -> float:
        return self.to_at - self.from_at


@attrs.frozen
class Start:
    """One start, or one wake, that is over."""

    service: ServiceId
    run: RunId
    wakes: bool
    phases: tuple[Phase, ...]
    """One after the other; those that did not come about are left out."""
    ended_at: float
    ready: bool

    @property
    def began_at(self) -> float:
        return self.phases[0].from_at


@attrs.define(eq=False)
class _Begun:
    since_at: float
    wakes: bool
    launched_at: float | None = None
    run: RunId | None = None


_PROMISED = {State.RESERVED: False, State.ROUSING: True}
_LAUNCHED = {State.STARTING: False, State.WAKING: True}


class Starts:
    """Tells of each start when it is over.

    Args:
        milestones: how far a run has come; asked when its start is over.
    """

    def __init__(self, milestones: Callable[[RunId], Milestones]) -> None:
        self._milestones = milestones
        self._begun: dict[ServiceId, _Begun] = {}
        self._pulls: dict[ServiceId, Phase] = {}

    def pulled(self, service: ServiceId, from_at: float, to_at: float) -> None:
        """Take note of a pull: it belongs to the start that follows."""
        self._pulls[service] = Phase("pull", from_at, to_at)

    def note(self, changed: Changed, now: float) -> Start | None:
        """Take note of a change; return the start that is over by it."""
        service, new = changed.service, changed.new
        if new in _PROMISED:
            self._begun[service] = _Begun(now, _PROMISED[new])
            return None
        begun = self._begun.get(service)
        if begun is None:
            return None
        if new in _LAUNCHED:
            begun.launched_at, begun.run = now, changed.run
            return None
        del self._begun[service]
        if begun.launched_at is None or begun.run is None:
            return None  # The promise was taken back.
        return self._over(service, begun, begun.launched_at, begun.run, now, new is State.READY)

    def _over(
        self,
        service: ServiceId,
        begun: _Begun,
        launched_at: float,
        run: RunId,
        now: float,
        ready: bool,
    ) -> Start:
        pull = self._pulls.pop(service, None)
        phases = []
        if pull is not None and 0 <= begun.since_at - pull.to_at <= PULL_KEPT_S:
            phases.append(pull)
        phases.append(Phase("evict", begun.since_at, launched_at))
        if begun.wakes:
            phases.append(Phase("wake", launched_at, now))
            return Start(service, run, True, tuple(phases), now, ready)
        seen = self._milestones(run)
        at = launched_at
        steps: list[tuple[str, float | None]] = [
            ("create", seen.placed_at),
            ("load", seen.answered_at),
            ("health", now),
        ]
        for name, until_at in [("load", now)] if seen.inside else steps:
            if until_at is None:
                # It did not come so far: all the rest is this phase's.
                phases.append(Phase(name, at, now))
                break
            phases.append(Phase(name, at, until_at))
            at = until_at
        return Start(service, run, False, tuple(phases), now, ready)
