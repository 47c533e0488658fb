"""A file for log lines that is bounded: when it is full it is renamed, and a new one is begun.

loguru's own files take 85 us for a line, of which each request has one; they print a traceback for
each line that a full disk does not take, raise when they are closed then, and remove every file
whose name looks like one of theirs.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

import attrs


@attrs.frozen
class LogFile:
    """Where lines go, and how many are kept."""

    path: Path
    size_max: int
    """In bytes; only lines that are written at once make it larger."""
    kept: int
    """How many full ones: `path.1` is the youngest."""


class LogWriter(RotatingFileHandler):
    """Writes into such a file.

    Args:
        file: where to.
        tell: is told why lines are lost, and not again until some are written.

    Raises:
        OSError: it cannot be opened, or its folder cannot be made.
    """

    terminator = ""

    def __init__(self, file: LogFile, tell: Callable[[str], object]) -> None:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            file.path,
            maxBytes=file.size_max,
            backupCount=file.kept,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._path = file.path
        self._tell = tell
        self._loses = self._lost = False

    def write(self, text: str) -> None:
        """Write lines, with their ends; what cannot be written is lost."""
        if not self._path.exists():
            self._drop()  # Who removes it gets another one.
        self._lost = False
        self.handle(logging.makeLogRecord({"msg": text}))
        self._loses = self._lost

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as logging calls it
        """Open the file again for the next lines."""
        self._drop()
        self._lost = True
        if not self._loses:
            self._tell(f"no log lines go to {self._path}: {sys.exc_info()[1]}")

    def close(self) -> None:
        """Write no more; a full disk keeps nobody from that."""
        self._drop()
        super().close()

    def _drop(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.close()
