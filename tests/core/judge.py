"""Judge the proxycore in reach: exit with 0 if neither random walks nor quick tests object to it.

Run as a program, once for each generated fault.  The walks come first: they are soon begun, and
find most faults within the first few.
"""

import resource
import sys
from collections.abc import Sequence
from random import Random

import pytest

from proxycore.sim import walk

WALKS = 40
STEPS = 150
HUGE = 4 << 30
"""Some faults fill the memory."""
TESTS: Sequence[str] = (
    "tests/core",
    "-qx",
    "-m=not slow",
    "--ignore=tests/core/test_operators.py",
    "--hypothesis-seed=1",
    "-pno:cacheprovider",
)


def main(patience_s: int) -> int:
    """Return the exit status; who uses more processor time than `patience_s` is ended."""
    resource.setrlimit(resource.RLIMIT_CPU, (patience_s, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (HUGE, resource.RLIM_INFINITY))
    for seed in range(WALKS):
        walk(Random(seed), STEPS)
    return pytest.main(list(TESTS))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
