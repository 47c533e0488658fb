"""Walk through worlds of fixed seeds, with whatever proxycore is in reach; tell of each how it was.

Run as a program by the tests: with the core as it is, and with each mutant.
Prints a line for each walk: the breach of a promise, or a digest of all that the core was told and
answered.  The first breach of the promise that was asked for ends it.
"""

import hashlib
import sys
from random import Random

from proxycore.sim import Broken, walk

STEPS = 150


def main(first: int, count: int, promise: int) -> None:
    for seed in range(first, first + count):
        try:
            world = walk(Random(seed), STEPS)
            answer = hashlib.sha256(repr((world.journal, world.answers)).encode()).hexdigest()
        except Broken as error:
            answer = f"{error} (seed {seed})"
        sys.stdout.write(" ".join(answer.split()) + "\n")
        if answer.startswith(f"promise {promise}:"):
            return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
