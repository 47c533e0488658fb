"""The journal on disk: two files of bounded size, each of which replays by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from loguru import logger

from ._batch import Batch

SEGMENT_BYTES_MAX = 8 * 1024 * 1024
"""About 80,000 events; with the file before it that is what a bug report can hold."""


class JournalFile:
    """Writes lines to `journal.jsonl`; a full file becomes `journal.1.jsonl`.

    The journal is for people who look into what happened: a disk that is full or gone is said
    once, and nothing else suffers.  A daemon that is killed while it has much to do loses the lines
    of its last tenth of a second; what it did write replays all the same.
    """

    def __init__(self, folder: Path, *, bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._path = folder / "journal.jsonl"
        self._old_path = folder / "journal.1.jsonl"
        self._file: TextIO | None = None
        self._bytes = 0
        self._batch = Batch(self._put)

    def begin(self, head: str) -> None:
        """Begin a new file with a head; the one before is kept, the one before that is not."""
        self.close()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                self._path.replace(self._old_path)
            self._file = self._path.open("w", encoding="ascii")
        except OSError as error:
            logger.warning("no journal: {}", error)
            return
        self._bytes = 0
        self.add(head)

    def write(self, line: str, head: Callable[[], str]) -> None:
        """Append a line; `head` makes the first line of the next file, if one must begin."""
        if self._bytes > self._bytes_max and self._file is not None:
            self.begin(head())
        self.add(line)

    def add(self, line: str) -> None:
        """Append a line that belongs to the one before, so to its file."""
        if self._file is not None:
            self._bytes += len(line)
            self._batch.add(line)

    def close(self) -> None:
        self._batch.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, lines: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(lines)
            self._file.flush()
        except OSError as error:
            logger.warning("the journal ends here: {}", error)
            self._file = None
