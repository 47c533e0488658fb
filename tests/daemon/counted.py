"""The daemon as users run it, but for an ear for SIGUSR1: then it writes down what it holds.

`python -m tests.daemon.counted serve ...`, with a file in `$AIPROXY_TEST_COUNTS`.
"""

import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path

import trio

from proxyserver.__main__ import main


def tell(*_: object) -> None:
    """Write down how many tasks there are, and how many objects of each type."""
    gc.collect()
    file = Path(os.environ["AIPROXY_TEST_COUNTS"])
    objects = Counter(type(one).__qualname__ for one in gc.get_objects())
    tasks = trio.lowlevel.current_statistics().tasks_living
    half = file.with_suffix(".half")
    half.write_text(json.dumps({"tasks": tasks, "objects": objects}))
    half.rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, tell)
    main()
