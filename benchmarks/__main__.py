"""The command `python -m benchmarks`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from . import core, policies
from . import main as main_job
from ._harness import Benchmark, report

BENCHMARKS: Mapping[str, Benchmark] = {
    "core": core.measure,
    "main": main_job.measure,
    "policies": policies.measure,
}


def main() -> int:
    """Run one benchmark; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    figures = BENCHMARKS[arguments.name]()
    for figure in figures:
        print(figure)
    if arguments.json is not None:
        arguments.json.write_text(report(arguments.name, figures))
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
