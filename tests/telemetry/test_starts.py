"""Starts and wakes are followed phase by phase, and told once."""

import attrs
import pytest

from proxycore import Changed, RunId, ServiceId, State
from proxyserver.milestones import Milestones
from proxyserver.telemetry.starts import PULL_KEPT_S, Phase, Start, Starts

CHAT, RUN = ServiceId("chat"), RunId(7)
R, S = State.RESERVED, State.STARTING


@attrs.define
class Life:
    """One service that goes from state to state, a second each."""

    milestones: Milestones = Milestones()  # noqa: RUF009  # it is frozen
    state: State = State.DOWN
    now: float = 100.0
    starts: Starts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.starts = Starts(lambda run: self.milestones if run == RUN else Milestones())

    def go(self, *states: State) -> list[Start]:
        told = []
        for state in states:
            self.now += 1.0
            run = RUN if state not in (State.RESERVED, State.DOWN) else None
            start = self.starts.note(Changed(CHAT, run, self.state, state, ""), self.now)
            told += [] if start is None else [start]
            self.state = state
        return told


def test_a_start_has_its_phases() -> None:
    """One after the other, without a gap, from the promise of room to the first yes."""
    life = Life(Milestones(102.25, 102.75))
    [start] = life.go(R, S, State.READY)
    assert start == Start(
        CHAT,
        RUN,
        False,
        (
            Phase("evict", 101.0, 102.0),
            Phase("create", 102.0, 102.25),
            Phase("load", 102.25, 102.75),
            Phase("health", 102.75, 103.0),
        ),
        103.0,
        True,
    )
    assert start.began_at == 101.0
    # The same once more, and the first is forgotten.
    assert len(life.go(State.STOPPING, State.DOWN, R, S, State.READY)) == 1


@pytest.mark.parametrize(
    ("milestones", "last"),
    [
        (Milestones(), Phase("create", 102.0, 103.0)),
        (Milestones(102.5), Phase("load", 102.5, 103.0)),
        (Milestones(102.5, 102.6), Phase("health", 102.6, 103.0)),
    ],
)
def test_a_start_that_fails_ends_in_the_phase_it_was_in(
    milestones: Milestones, last: Phase
) -> None:
    """That is where to look for the cause."""
    [start] = Life(milestones).go(R, S, State.STOPPING, State.BACKOFF)
    assert (start.ready, start.phases[-1]) == (False, last)


def test_a_model_inside_a_server_only_loads() -> None:
    """There is nothing to create, and its server answers already."""
    [start] = Life(Milestones(inside=True)).go(R, S, State.READY)
    assert [phase.name for phase in start.phases] == ["evict", "load"]


def test_a_wake_is_a_start_of_its_own_kind() -> None:
    """It waits for room, and wakes."""
    life = Life()
    assert life.go(State.READY, State.SLEEPING, State.ASLEEP) == []
    [wake] = life.go(State.ROUSING, State.WAKING, State.READY)
    assert wake.wakes
    assert wake.phases == (Phase("evict", 104.0, 105.0), Phase("wake", 105.0, 106.0))


def test_a_pull_belongs_to_the_start_that_follows() -> None:
    """One that ended long before belongs to none."""
    life = Life()
    life.starts.pulled(CHAT, 90.0, 100.5)
    [start] = life.go(R, S, State.READY)
    assert start.phases[0] == Phase("pull", 90.0, 100.5)
    assert start.began_at == 90.0
    life.go(State.STOPPING, State.DOWN)
    life.starts.pulled(CHAT, life.now - 5.0, life.now)
    life.now += PULL_KEPT_S
    [start] = life.go(R, S, State.READY)
    assert start.phases[0].name == "evict"


def test_a_promise_that_is_taken_back_is_no_start() -> None:
    """Nor is a run that was found and adopted."""
    life = Life()
    assert life.go(R, State.DOWN, State.READY, State.STOPPING, State.DOWN) == []
