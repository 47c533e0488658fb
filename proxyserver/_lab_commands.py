"""The commands `aiproxy simulate` and `aiproxy replay`: experiments that need no daemon."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, Json, print_json
from ._console import print_table

SkipBroken = Annotated[
    bool, Parameter(negative=(), help="Tell of broken lines, and go on without them.")
]


def simulate(
    file: Path,
    /,
    *,
    policy: Annotated[
        str, Parameter(help="Names, separated by commas; `all` for all that there are.")
    ] = "cost_rate,lru",
    capacity: Annotated[
        str | None, Parameter(help="Memory of each GPU: sizes, separated by commas.")
    ] = None,
    seed: Annotated[
        int, Parameter(help="Which servers of the catalogue the services of a trace are.")
    ] = 0,
    pure: Annotated[
        bool,
        Parameter(negative=(), help="Let nothing take time, and show the least possible load."),
    ] = False,
    checked: Annotated[
        bool, Parameter(negative=(), help="Check every promise at every step; slow.")
    ] = False,
    skip_broken: SkipBroken = False,
    plot: Annotated[Path | None, Parameter(help="Draw the figures into this file, as SVG.")] = None,
    progress: Annotated[
        bool | None,
        Parameter(help="Say on standard error how far it is; default: on a terminal."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare policies on a request trace or on a daemon's journal."""
    from . import lab

    with _lab_errors():
        rows = lab.simulate(
            file,
            policy.split(","),
            capacity.split(",") if capacity else (),
            seed=seed,
            pure=pure,
            checked=checked,
            skip_broken=skip_broken,
            progress=Progress() if progress or (progress is None and sys.stderr.isatty()) else None,
        )
        told = list(rows)
    if plot is not None:
        _draw(plot, file.name, told)
    if json:
        print_json(told)
    else:
        print_table(lab.table(told))


def replay(
    file: Path,
    /,
    *,
    policy: Annotated[
        str | None, Parameter(help="Decide by this one; default: as when it was written.")
    ] = None,
    skip_broken: SkipBroken = False,
    json: Json = False,
) -> None:
    """Take the decisions of a journal again; exit code 1 where they differ."""
    from . import lab

    with _lab_errors():
        replayed = lab.replay(file, policy, skip_broken=skip_broken)
    if json:
        print_json(replayed)
    else:
        for one in replayed["differences"]:
            print(f"{file}:{one['line']}: {one['event']}")
            print(f"    then: {'; '.join(one['then']) or 'nothing'}")
            print(f"    now:  {'; '.join(one['now']) or 'nothing'}")
        print(
            f"{replayed['events']} events, {replayed['orders']} orders,"
            f" {len(replayed['differences'])} differences"
        )
    if replayed["differences"]:
        raise CommandFailed(FAILED, f"{file}: other decisions than when it was written")


@contextmanager
def _lab_errors() -> Iterator[None]:
    """Turn what is wrong with a trace or journal into words and an exit code.

    Raises:
        CommandFailed: in their place.
    """
    from .lab import LabError

    try:
        yield
    except LabError as error:
        raise CommandFailed(FAILED, f"aiproxy: {error}") from None


def _draw(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the figures.

    Raises:
        CommandFailed: the file cannot be written.
    """
    from ._plot import svg

    try:
        path.write_text(svg(title, rows), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(FAILED, f"aiproxy: {path}: cannot be written: {error}") from None


class Progress:
    """Says how far simulations are: one line that changes on a terminal, else a line a second."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, what: str, share: float) -> None:
        on_terminal = sys.stderr.isatty()
        now = time.monotonic()
        # What is over within a moment need not be said.
        if share < 1.0 and now - self._said_at < (0.1 if on_terminal else 1.0):
            return
        self._said_at = now
        text = f"{what}: {share:.0%}"
        if on_terminal:
            print(f"\r\x1b[K{text}", end="\n" if share == 1.0 else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
