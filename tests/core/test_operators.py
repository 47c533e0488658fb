"""Generated faults: what is drawn is the same every time, and the tests of the core notice."""

import ast

import pytest

from . import operators
from .equivalent import EQUIVALENT
from .operators import Operator, Verdict

NUMBER = 30


def test_each_changes_the_source() -> None:
    """A module alone, in one line, and not as another does."""
    for module in operators.MODULES:
        before = ast.unparse(ast.parse((operators.CORE / module).read_text())).splitlines()
        found = [one for one in operators.mutants() if one.module == module][::25]
        changes = set()
        for one in found:
            after = operators.source(one).splitlines()
            pairs = enumerate(zip(before, after, strict=True))
            [change] = [(line, new) for line, (old, new) in pairs if new != old]
            changes.add(change)
        assert len(changes) == len(found)


def test_each_has_a_text_of_its_own() -> None:
    """By which it is drawn and known."""
    texts = [one.text for one in operators.mutants()]
    assert len(set(texts)) == len(texts)


def test_the_sample_is_the_same_every_time() -> None:
    """Else a failure could not be looked at again."""
    assert operators.sample(5) == operators.sample(5)


def test_what_nobody_could_see_is_there_still() -> None:
    """An excuse for a fault that cannot be made any more excuses nothing, or something else."""
    assert EQUIVALENT.keys() <= {one.text for one in operators.mutants()}


@pytest.mark.slow
def test_nearly_all_are_caught() -> None:
    """As many as is promised; `python -m benchmarks core` judges a larger sample."""
    verdicts: dict[Operator, Verdict] = operators.judge_all(operators.sample(NUMBER, seed=7))
    survived = [str(one) for one, verdict in verdicts.items() if verdict is Verdict.SURVIVED]
    assert len(survived) <= NUMBER * (1 - operators.PROMISED), survived
