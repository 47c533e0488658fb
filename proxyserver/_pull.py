"""The progress of a pull, as text: a bar on a terminal, else a line each tenth."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from proxyserver.runtime._protocol import Progress, PullProgress

from ._console import is_rich, size


@contextmanager
def show(image: str, out: TextIO) -> Iterator[Progress]:
    """Yield what is to be told about each step of pulling an image."""
    if not is_rich(out):
        lines = _Lines(image, out)
        yield lines.tell
        lines.end()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=Console(file=out)) as bars:
        bar = bars.add_task(image, total=None)

        def tell(step: PullProgress) -> None:
            bars.update(
                bar,
                description=f"{image}: {step.status}",
                completed=step.done,
                total=step.total or None,
            )

        yield tell


class _Lines:
    def __init__(self, image: str, out: TextIO) -> None:
        self._image = image
        self._out = out
        self._told = -1
        self._last = ""

    def tell(self, step: PullProgress) -> None:
        tenth = 10 * step.done // step.total if step.total else 0
        self._last = step.status
        if tenth > self._told:
            self._told = tenth
            amount = f" {size(step.done)} of {size(step.total)}" if step.total else ""
            self._say(f"{step.status}{amount}")

    def end(self) -> None:
        """Say how it ended."""
        self._say(self._last)

    def _say(self, words: str) -> None:
        self._out.write(f"{self._image}: {words}\n")
        self._out.flush()
