"""Lines in batches: none is late, none is lost, and they keep their order."""

import subprocess
import sys
import threading

from proxyserver._batch import LINES_MAX, Batch


def test_the_first_line_is_written_at_once() -> None:
    """Who watches an idle daemon sees what it does when it does it."""
    written: list[str] = []
    Batch(written.append).add("a\n")
    assert written == ["a\n"]


def test_many_lines_come_together_and_soon() -> None:
    """One write for all that came meanwhile."""
    come = threading.Event()
    written: list[str] = []

    def write(text: str) -> None:
        written.append(text)
        if len(written) == 2:
            come.set()

    batch = Batch(write, pause_s=0.2)
    for line in ("a\n", "b\n", "c\n"):
        batch.add(line)
    assert come.wait(10)
    assert written == ["a\n", "b\nc\n"]


def test_a_line_that_cannot_wait_brings_those_before_it() -> None:
    """So that the order stays; and what has been written is not written again."""
    written: list[str] = []
    batch = Batch(written.append)
    batch.add("a\n")
    batch.add("b\n")
    batch.add("warning\n", now=True)
    batch.flush()
    assert written == ["a\n", "b\nwarning\n"]


def test_what_waits_is_bounded() -> None:
    """Beyond that it is written by who brings it."""
    written: list[str] = []
    batch = Batch(written.append, pause_s=0.2)
    for _ in range(1 + LINES_MAX):
        batch.add("x")
    assert max(map(len, written)) <= LINES_MAX
    assert sum(map(len, written)) >= LINES_MAX
    batch.flush()
    assert sum(map(len, written)) == 1 + LINES_MAX


def test_the_end_of_the_process_loses_no_line() -> None:
    """It waits for the last batch."""
    program = (
        "import sys; from proxyserver._batch import Batch; batch = Batch(sys.stdout.write)\n"
        "for line in 'abc': batch.add(line)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stdout == b"abc"
