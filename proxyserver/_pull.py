"""The progress of a pull on standard error: a bar on a terminal, else a line each tenth."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from proxyserver.runtime._protocol import Progress, PullProgress

from ._console import is_rich, size


@contextmanager
def show(image: str) -> Iterator[Progress]:
    """Yield what is to be told about each step of pulling an image."""
    if not is_rich(sys.stderr):
        yield _Lines(image).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bars(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bars:
        bar = bars.add_task(image, total=None)

        def tell(step: PullProgress) -> None:
            bars.update(bar, completed=step.done, total=step.total or None)

        yield tell


class _Lines:
    def __init__(self, image: str) -> None:
        self._image = image
        self._told = -1

    def tell(self, step: PullProgress) -> None:
        tenth = 10 * step.done // step.total if step.total else 0
        if tenth > self._told:
            self._told = tenth
            amount = f" {size(step.done)} of {size(step.total)}" if step.total else ""
            print(f"{self._image}: {step.status}{amount}", file=sys.stderr, flush=True)  # noqa: T201
