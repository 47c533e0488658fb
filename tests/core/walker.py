"""Walk through worlds of fixed seeds, with whatever proxycore is in reach; tell what was broken.

Run as a program by the tests: once with the core as it is, and once with each mutant.
Prints the first breach of the promise that was asked for; failing that the first of any; failing
that a digest of all that the core was told and answered.
"""

import hashlib
import sys
from random import Random

from proxycore.sim import Broken, walk

STEPS = 150


def main(seeds: int, promise: str) -> None:
    digest, first = hashlib.sha256(), ""
    for seed in range(seeds):
        try:
            world = walk(Random(seed), STEPS)
        except Broken as error:
            first = first or f"{error} (seed {seed})"
            if promise == "any" or str(error).startswith(f"promise {promise}:"):
                sys.stdout.write(f"{error} (seed {seed})\n")
                return
            continue
        digest.update(repr((world.journal, world.answers)).encode())
    sys.stdout.write(f"{first or digest.hexdigest()}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
