"""The table of a service's life, exhaustively: it is small and finite."""

from collections.abc import Iterable
from itertools import product

import pytest

from proxycore import InvariantError
from proxycore._lifecycle import HOLDING, TABLE, State, Step, advance


def reached_from(states: Iterable[State]) -> set[State]:
    """Return the states that some steps lead to."""
    reached = set(states)
    while True:
        more = reached | {after for state in reached for after in TABLE[state].values()}
        if more == reached:
            return reached
        reached = more


@pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
def test_every_step_of_every_state_is_in_the_table_or_refused(state: State, step: Step) -> None:
    """A step leads where the table says; any other is our own mistake, and told so."""
    if step in TABLE[state]:
        assert advance(state, step) is TABLE[state][step]
    else:
        with pytest.raises(InvariantError, match=f"no step {step.name} from state {state.name}"):
            advance(state, step)


def test_every_state_is_reached() -> None:
    """No row of the table is dead."""
    assert reached_from([State.DOWN]) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_leads_down(state: State) -> None:
    """Nothing is stuck for ever."""
    assert State.DOWN in reached_from([state])


@pytest.mark.parametrize("state", State)
def test_memory_is_held_from_launch_to_the_end(state: State) -> None:
    """Who holds memory stops holding it only by an end of the run: never by asking for it."""
    ends = {Step.GONE, Step.BACK_OFF, Step.FAIL}
    begins = {Step.LAUNCH, Step.ADOPT, Step.ADOPT_ASLEEP}
    for step, after in TABLE[state].items():
        if state in HOLDING:
            assert (after not in HOLDING) == (step in ends)
        else:
            assert (after in HOLDING) == (step in begins)
