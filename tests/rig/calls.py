"""Counts the functions of ours that are called: a cost that is the same on every machine."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import proxycore
import proxyserver

PACKAGES = tuple(str(Path(one.__file__).parent) for one in (proxycore, proxyserver) if one.__file__)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count, by function, what this thread calls in the block; each resumption counts."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGES):
            calls[f"{Path(code.co_filename).name} {code.co_qualname}"] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def told(calls: Counter[str], times: int) -> str:
    """Say for each of so many rounds what was called how often."""
    return "\n".join(f"{count / times:6.1f} {name}" for name, count in calls.most_common())
