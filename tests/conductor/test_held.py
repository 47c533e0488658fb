"""What a log says of the memory that a sleeper holds."""

import pytest

from proxycore.config import GIB
from proxyserver._held import held_asleep
from proxyserver.templates.vllm import ASLEEP_LINE

SAID = "INFO [gpu_worker.py:160] Sleep mode freed {} GiB memory, {} GiB memory is still in use."


@pytest.mark.parametrize(
    ("lines", "claims", "held"),
    [
        ([], [16], None),
        (["nothing of that kind"], [16], None),
        ([SAID.format("14.00", "1.50")], [16], 1.5),
        # Others hold the rest of what is in use: it cannot hold more than it had.
        ([SAID.format("14.00", "9.00")], [16], 2.0),
        # A claim that was too small tells nothing.
        ([SAID.format("14.00", "9.00")], [12], 9.0),
        ([SAID.format("14.00", "9.00")], [], 9.0),
        # A line for each GPU, in whichever order; those of an earlier sleep do not count.
        ([SAID.format("10.00", one) for one in ("8.00", "1.00", "3.00")], [16, 16], 3.0),
    ],
)
def test_what_is_held(lines: list[str], claims: list[int], held: float | None) -> None:
    """The least that it can be told to be, of the GPU where that is the most."""
    expected = None if held is None else round(held * GIB)
    assert held_asleep(ASLEEP_LINE, lines, [claim * GIB for claim in claims]) == expected


def test_either_figure_is_enough() -> None:
    """A server may tell what it uses, or what it freed."""
    assert held_asleep(r"uses (?P<used>\d+)", ["uses 3"], [8 * GIB]) == 3 * GIB
    assert held_asleep(r"freed (?P<freed>\d+)", ["freed 3"], [8 * GIB]) == 5 * GIB
    assert held_asleep(r"freed (?P<freed>\d+)", ["freed 9"], [8 * GIB]) is None
