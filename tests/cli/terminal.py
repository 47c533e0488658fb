"""A terminal for the real command: what it shows there, and somebody who types."""

import math
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from .daemon import RUN_S, clean

AGAIN_S = 3.0
"""After so long a person thinks that a key was not heard."""


@attrs.define
class Terminal:
    """One command at a terminal."""

    process: subprocess.Popen[bytes]
    _screen: int
    shown: str = ""
    """All that came so far."""
    _seen: int = 0
    """How much of that was waited for."""

    def wait_for(self, text: str) -> str:
        """Read until this is shown, after what was waited for before; return what came with it.

        Raises:
            AssertionError: it never is.
        """
        start = self._seen
        until = time.monotonic() + RUN_S
        while (found := self.shown.find(text, start)) < 0:
            assert time.monotonic() < until, f"never shown: {text!r}, but {self.shown[start:]!r}"
            if not self._read(1.0) and self.process.poll() is not None:
                assert text in self.shown[start:], f"ended with {self.shown[start:]!r}"
        self._seen = found + len(text)
        return self.shown[start : self._seen]

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def end(self, *, interrupted: bool = False) -> int:
        """Wait until the command ends; return its exit code.

        Args:
            interrupted: Press Ctrl-C, and again, as a person would: Python's readline
                misses one that comes between its prompt and its waiting for keys.
        """
        until = time.monotonic() + RUN_S
        pressed_at = -math.inf
        while self.process.poll() is None or self._read(0):
            now = time.monotonic()
            assert now < until, f"it goes on: {self.shown!r}"
            if interrupted and now - pressed_at >= AGAIN_S:
                self.interrupt()
                pressed_at = now
            self._read(0.1)
        return self.process.wait()

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._screen], [], [], wait_s)
        if not ready:
            return False
        with suppress(OSError):  # EIO: nobody has the other end any more.
            data = os.read(self._screen, 65536)
            self.shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
            return bool(data)
        return False


@contextmanager
def at_terminal(
    *arguments: str, folder: Path | None = None, **environment: str
) -> Iterator[Terminal]:
    """Run the real command at a terminal, as a person would."""
    screen, other = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxyserver", *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=folder,
            # Ctrl-C reaches who has the terminal.
            start_new_session=True,
            preexec_fn=_take_terminal,
            env=clean(os.environ) | {"TERM": "xterm", "COLUMNS": "150"} | environment,
        )
    finally:
        os.close(other)
    try:
        yield Terminal(process, screen)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(screen)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
