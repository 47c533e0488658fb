"""What a place at a run costs stays what it is: see tests/http/test_cost.py."""

from pathlib import Path

from trio.testing import MockClock

from proxyserver.journal_file import JournalFile
from tests.rig.calls import counted, told

from .rig import CHAT, conducting

TIMES = 10
CALLS_MAX = 115
"""A little above what it is: the core's two events, their lines in the journal, the answer."""


async def test_a_place_calls_few_functions(autojump_clock: MockClock, tmp_path: Path) -> None:
    """One that is free, at a run that is ready."""
    file = JournalFile(tmp_path)
    async with conducting(journal_file=file) as rig:
        async with rig.conductor.slot(CHAT):
            pass  # It starts.
        with counted() as calls:
            for _ in range(TIMES):
                async with rig.conductor.slot(CHAT):
                    pass
    file.close()
    assert calls.total() / TIMES <= CALLS_MAX, told(calls, TIMES)
