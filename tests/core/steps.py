"""A long walk: `python -m tests.core.steps 100000` lets Hypothesis take so many steps, or more.

The suite takes some thousands; this is for after a change of the core's rules, and for releases.
"""

import argparse
import sys
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from .test_stateful import Happenings

EXAMPLES = 100
"""Between two lines that tell how far it is."""
STEPS_EACH = 60
LONG = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS_EACH,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Counted(Happenings):
    """The same happenings; every step is counted."""

    steps = 0

    @invariant()
    def count(self) -> None:
        Counted.steps += 1


def main() -> None:
    """Take the steps; what breaks a promise ends it, shrunk to few steps."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.steps", description=__doc__)
    parser.add_argument("steps", type=int)
    wanted = parser.parse_args().steps
    began_at = time.monotonic()
    while Counted.steps < wanted:
        run_state_machine_as_test(Counted, settings=LONG)
        taken_s = time.monotonic() - began_at
        sys.stdout.write(f"{Counted.steps} steps in {taken_s:.0f} s, no promise broken\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
