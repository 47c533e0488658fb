"""Judge the proxycore in reach: exit with 0 if neither random walks nor quick tests object to it.

Run as a program, once for each generated fault.  The quickest come first: what a test of a
millisecond finds needs no walk, and most faults are found within the first few walks.
"""

import resource
import sys
from collections.abc import Sequence
from random import Random

import pytest

from proxycore.sim import walk

FIRST_WALKS = 5
WALKS = 40
STEPS = 150
HUGE = 4 << 30
"""Some faults fill the memory."""
OPTIONS: Sequence[str] = ("-qx", "-m=not slow", "--hypothesis-seed=1", "-pno:cacheprovider")
LATE = "tests/core/test_policy.py"
"""Walks, and so slower than all others together."""
LEFT_OUT = "tests/core/test_operators.py"


def main(patience_s: int) -> int:
    """Return the exit status; who uses more processor time than `patience_s` is ended."""
    resource.setrlimit(resource.RLIMIT_CPU, (patience_s, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (HUGE, resource.RLIM_INFINITY))
    walks(range(FIRST_WALKS))
    others = (f"--ignore={one}" for one in (LATE, LEFT_OUT))
    if status := pytest.main(["tests/core", *others, *OPTIONS]):
        return status
    walks(range(FIRST_WALKS, WALKS))
    return pytest.main([LATE, *OPTIONS])


def walks(seeds: range) -> None:
    for seed in seeds:
        walk(Random(seed), STEPS)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
