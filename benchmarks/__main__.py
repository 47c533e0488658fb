"""The command `python -m benchmarks`."""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from . import core, datapath, policies, telemetry
from . import main as main_job
from ._harness import Benchmark, report

BENCHMARKS: Mapping[str, Benchmark] = {
    "core": core.measure,
    "datapath": datapath.measure,
    "main": main_job.measure,
    "policies": policies.measure,
    "telemetry": telemetry.measure,
}


def main() -> int:
    """Run one benchmark; return 1 when a promise is broken, 2 when it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="datapath: another proxy for the table; {port} and {upstream} are ports to fill in",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=datapath.PARTS,
        help="datapath: measure this part, and no other; may be given again",
    )
    arguments = parser.parse_args()
    benchmark = BENCHMARKS[arguments.name]
    if arguments.beside or arguments.only:
        if arguments.name != "datapath" or not all("=" in one for one in arguments.beside):
            parser.error("--beside NAME=COMMAND and --only PART go with datapath")
        beside = dict(one.split("=", 1) for one in arguments.beside)
        benchmark = partial(datapath.measure, beside, arguments.only)
    try:
        figures = benchmark()
    except (datapath.ReferenceMissing, datapath.CompilerMissing) as missing:
        print(f"this benchmark needs more: {missing}", file=sys.stderr)
        return 2
    except datapath.LoadFailed as failed:
        print(failed, file=sys.stderr)
        return 2
    for figure in figures:
        print(figure)
    if arguments.json is not None:
        arguments.json.write_text(report(arguments.name, figures))
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
