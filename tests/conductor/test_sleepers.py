"""Who sleeps is known to the next life of the daemon, or known to be unknown."""

from pathlib import Path

import pytest

from proxycore import RunId
from proxyserver.sleepers import Sleepers

ONE, TWO = RunId(1), RunId(2)


def next_life(file: Path) -> Sleepers:
    sleepers = Sleepers(file)
    sleepers.load()
    return sleepers


def test_a_life(tmp_path: Path) -> None:
    """Awake, about to turn, asleep, about to turn, awake."""
    file = tmp_path / "sleepers.json"
    sleepers = next_life(file)
    assert sleepers.is_asleep(ONE) is False
    sleepers.turning(ONE)
    assert next_life(file).is_asleep(ONE) is None
    sleepers.asleep(ONE)
    assert next_life(file).is_asleep(ONE) is True
    assert next_life(file).is_asleep(TWO) is False
    sleepers.turning(ONE)
    assert next_life(file).is_asleep(ONE) is None
    sleepers.forget(ONE)
    assert next_life(file).is_asleep(ONE) is False


def test_numbers_that_may_come_again(tmp_path: Path) -> None:
    """What is kept of runs that are gone would be said of others later."""
    file = tmp_path / "sleepers.json"
    sleepers = next_life(file)
    sleepers.asleep(ONE)
    sleepers.asleep(TWO)
    sleepers.keep_only([TWO])
    assert [next_life(file).is_asleep(run) for run in (ONE, TWO)] == [False, True]


@pytest.mark.parametrize("text", ["", "neither", "[1]", '{"x": true}', '{"1": '])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    """Then nothing is known of any run, until the new life knows which live."""
    file = tmp_path / "sleepers.json"
    file.write_text(text)
    sleepers = next_life(file)
    assert sleepers.is_asleep(ONE) is None
    sleepers.keep_only([])
    assert next_life(file).is_asleep(ONE) is False


def test_nowhere_to_write(tmp_path: Path) -> None:
    """It is told of; whoever sleeps is known in this life all the same."""
    sleepers = Sleepers(tmp_path / "file" / "below")
    (tmp_path / "file").touch()
    sleepers.asleep(ONE)
    assert sleepers.is_asleep(ONE) is True
