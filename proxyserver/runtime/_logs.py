"""The text of logs: what servers write is untrusted, so it is bounded and cleaned here."""

import codecs
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import trio

LINE_MAX = 2000
"""Characters of one line that are kept; the rest of a longer line is dropped."""
TAIL_BYTES_MAX = 256 * 1024
"""How far back from its end a log file is read."""
READ_BYTES = 64 * 1024
FOLLOW_MIN_S = 0.01
FOLLOW_MAX_S = 0.1
"""How often a followed file is looked at: at once after a line, more rarely while it is quiet."""

# Colours and cursor movements: the whole sequence goes, not only the escape character.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
# C0 without tab, DEL, C1, and the marks that turn the direction of text (CVE-2021-42574).
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean_line(line: str) -> str:
    """Return the line without what could harm a terminal or a log, and not too long."""
    # A progress bar redraws its line: what stands after the last return is what one would see.
    line = line[: 4 * LINE_MAX].rstrip("\r\n").rpartition("\r")[2]
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", line))[:LINE_MAX]


class LineSplitter:
    """Turns a stream of bytes into clean lines, with bounded memory however long a line is."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that are complete now."""
        *lines, begun = (self._begun + self._decoder.decode(data)).split("\n")
        self._begun = begun[: 4 * LINE_MAX]
        for line in lines:
            yield clean_line(line)

    def end(self) -> Iterator[str]:
        """Yield the last line, if it was not ended properly."""
        begun, self._begun = self._begun + self._decoder.decode(b"", final=True), ""
        if begun:
            yield clean_line(begun)


def clean_lines(data: bytes) -> Iterator[str]:
    """Yield the clean lines of a whole log."""
    splitter = LineSplitter()
    yield from splitter.feed(data)
    yield from splitter.end()


def tail_of(lines: Iterable[str], count: int) -> tuple[str, ...]:
    """Return the last lines of many."""
    return tuple(deque(lines, maxlen=count))


def read_tail(path: Path, count: int) -> tuple[str, ...]:
    """Return the last lines of a log file; none if there is no such file."""
    try:
        file = path.open("rb")
    except OSError:
        return ()
    with file:
        return tail_of(clean_lines(_read_end(file)), count)


def _read_end(file: BinaryIO) -> bytes:
    """Read whole lines up to the end of the file, where its position stays."""
    start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES_MAX)
    file.seek(start)
    data = file.read(TAIL_BYTES_MAX)
    return data.partition(b"\n")[2] if start else data  # We may have landed within a line.


async def follow_file(
    path: Path, *, tail: int, follow: bool, ended: Callable[[], bool]
) -> AsyncIterator[str]:
    """Yield the last lines of a file, then, if asked, new ones until `ended` says so.

    The file may shrink while it is followed (see `bound_file`): reading starts over then.

    Polling, not inotify: that would need calls into the C library, to save an fstat ten times a
    second.
    """
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        splitter = LineSplitter()
        for line in tail_of(splitter.feed(_read_end(file)), tail):
            yield line
        pause_s = FOLLOW_MIN_S
        while follow:
            last_look = ended()  # Asked before reading: what it wrote last must not be missed.
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            data = file.read(READ_BYTES)
            for line in splitter.feed(data):
                yield line
            if data:
                pause_s = FOLLOW_MIN_S
                await trio.lowlevel.checkpoint()
            elif last_look:
                break
            else:
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, FOLLOW_MAX_S)
        for line in splitter.end():
            yield line


def bound_file(path: Path, bytes_max: int) -> None:
    """Cut a log that has grown too long, keeping its newest half, while it is written to.

    The writer holds the file open in append mode, so the file is rewritten in place; lines that
    come in between are lost, which a log of this size can bear.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= bytes_max:
            return
        file.seek(size - bytes_max // 2)
        newest = file.read(bytes_max // 2)
        file.truncate(0)
    with path.open("ab") as file:
        file.write(newest)


async def no_lines() -> AsyncIterator[str]:
    """Yield nothing: the log of what never ran."""
    lines: tuple[str, ...] = ()
    for line in lines:
        yield line
