"""Lines on their way into a file: written at once while few come, together while many do.

A system call for each line costs more than all else about it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

PAUSE_S = 0.1
"""Who kills the process loses what came in its last tenth of a second."""
LINES_MAX = 500
"""So many wait at most."""


class Batch:
    """Collects lines, in order, from any thread.

    Args:
        write: puts text where it belongs; one call at a time, from this thread or another.
        pause_s: how long a line may wait while more come.
    """

    def __init__(self, write: Callable[[str], object], *, pause_s: float = PAUSE_S) -> None:
        self._write = write
        self._pause_s = pause_s
        self._lines: deque[str] = deque()
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._awaited = False

    def add(self, line: str, *, now: bool = False) -> None:
        """Write a line, `now` or soon, after those that came before it."""
        self._lines.append(line)
        if self._awaited and not now and len(self._lines) < LINES_MAX:
            return  # Nearly always; and a `deque` needs no lock.
        with self._lock:
            since_s = time.monotonic() - self._written_at
            if now or since_s >= self._pause_s or len(self._lines) >= LINES_MAX:
                self._flush()
            elif not self._awaited:
                self._awaited = True
                # No daemon: the end of the process waits for it, and so for the last lines.
                threading.Timer(self._pause_s, self.flush).start()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._awaited = False
            self._flush()

    def _flush(self) -> None:
        lines = self._lines
        text = "".join([lines.popleft() for _ in range(len(lines))])
        self._written_at = time.monotonic()
        if text:
            self._write(text)
