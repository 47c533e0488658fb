"""Look for the walk that finds each planted fault; `python -m tests.core.hunt` writes `found.py`.

For after a change of the core or of the World, by which other things happen on the walks of the
tests: then the walks that are written down find little, and the tests look through all others.
"""

import json
import re
import tempfile
from pathlib import Path

from . import found
from .mutants import MUTANTS
from .test_mutants import hunts

_SEED = re.compile(r"\(seed (\d+)\)$")


def main() -> None:
    """Write what is found now; a mutant that is not found is left out."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        breaches = hunts(MUTANTS, Path(folder))
    seeds = {one.name: int(at[1]) for one, told in breaches.items() if (at := _SEED.search(told))}
    file = Path(found.__file__)
    head, _, _ = file.read_text().partition("{")
    lines = [f"    {json.dumps(name)}: {seed},\n" for name, seed in seeds.items()]
    file.write_text(head + "{\n" + "".join(lines) + "}\n")


if __name__ == "__main__":
    main()
