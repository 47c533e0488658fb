"""Generated faults: what is drawn is the same every time, and the tests of the core notice."""

import pytest

from . import operators
from .operators import Operator, Verdict


def test_each_changes_the_source() -> None:
    """Every one, its module alone, and no two of a module in the same way."""
    found = operators.mutants()
    for module in operators.MODULES:
        texts = [operators.source(one) for one in found if one.module == module][:40]
        assert len(set(texts)) == len(texts)


def test_the_sample_is_the_same_every_time() -> None:
    """Else a failure could not be looked at again."""
    assert operators.sample(5) == operators.sample(5)


@pytest.mark.slow
def test_nearly_all_are_caught() -> None:
    """A small sample; `python -m benchmarks core` judges a larger one."""
    verdicts: dict[Operator, Verdict] = operators.judge(operators.sample(8, seed=7))
    survived = [str(one) for one, verdict in verdicts.items() if verdict is Verdict.SURVIVED]
    assert len(survived) <= 2, survived
