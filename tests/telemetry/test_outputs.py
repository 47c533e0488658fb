"""The output of services is followed from first to last, bounded, and only if it is wanted."""

from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from proxycore import Cause, Changed, RunId, ServiceId, State
from proxyserver.runtime import RuntimeUnreachable
from proxyserver.telemetry.outputs import AGAIN_S, LAST_S, LINES_MAX, READ_MAX, Outputs

CHAT = ServiceId("chat")


@attrs.define
class Rig:
    """A service whose lines come by hand, and who takes them."""

    wanted: bool = True
    there: set[RunId] = attrs.Factory(set)
    old: list[str] = attrs.Factory(list)
    """Lines that are there already."""
    asked: list[int] = attrs.Factory(list)
    """By the tails that were asked for."""
    got: list[tuple[int, str]] = attrs.Factory(list)
    lost_lines: int = 0
    state: State = State.DOWN
    lost_engine: bool = False
    log: trio.MemorySendChannel[str] | None = None
    outputs: Outputs = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outputs = Outputs(self.lines, self.there.__contains__, lambda _: self.wanted, self)

    async def lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        assert (service, follow) == (CHAT, True)
        self.asked.append(tail)
        if self.lost_engine:
            raise RuntimeUnreachable(Cause("engine_unreachable", "gone"))
        self.log, coming = trio.open_memory_channel[str](100_000)
        for line in self.old[-tail:] if tail else ():
            yield line
        async for line in coming:
            yield line

    def line(self, service: ServiceId, run: RunId, line: str) -> None:
        assert service == CHAT
        self.got.append((run, line))

    def lost(self, service: ServiceId) -> None:
        assert service == CHAT
        self.lost_lines += 1

    async def go(self, *states: State, run: int = 1) -> None:
        for state in states:
            self.outputs.note(Changed(CHAT, RunId(run), self.state, state, ""))
            self.state = state
        await trio.testing.wait_all_tasks_blocked()

    async def write(self, *lines: str) -> None:
        assert self.log is not None
        for line in lines:
            self.log.send_nowait(line)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_run_from_first_to_last(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Not before it is there: until then the log is that of the last one; the end is read, too."""
    rig = Rig(old=["of an earlier run"])
    nursery.start_soon(rig.outputs.run)
    await rig.go(State.RESERVED, State.STARTING)
    await trio.sleep(1.0)
    assert rig.asked == []
    rig.old = ["one"]
    rig.there.add(RunId(1))
    await trio.sleep(0.1)
    await rig.go(State.READY)
    await rig.write("two")
    await rig.go(State.STOPPING, State.DOWN)
    await rig.write("three")
    assert rig.log is not None
    rig.log.close()
    await trio.sleep(AGAIN_S * 2)
    assert rig.got == [(1, "one"), (1, "two"), (1, "three")]
    assert len(rig.asked) == 1
    assert rig.outputs._followed == {}


async def test_a_run_that_ends_before_it_is_looked_at(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its last words tell why; one that never came to be has none."""
    rig = Rig(old=["cannot open the model"])
    nursery.start_soon(rig.outputs.run)
    await rig.go(State.STARTING)
    await rig.go(State.FAILED)
    await trio.sleep(1.0)
    assert rig.got == []
    await rig.go(State.STARTING, run=2)
    rig.there.add(RunId(2))
    rig.outputs.note(Changed(CHAT, RunId(2), State.STARTING, State.BACKOFF, ""))
    rig.there.clear()  # It is forgotten before the follower looks again.
    await rig.go(State.RESERVED, State.STARTING, run=3)
    await trio.sleep(LAST_S + 1)
    await rig.go(State.FAILED, run=3)
    await trio.sleep(1.0)
    assert rig.got == [(2, "cannot open the model")]
    assert rig.outputs._followed == {}, "a log without an end is left at last"


async def test_an_adopted_run_tells_what_is_new(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """What it said in an earlier life was sent then, if at all."""
    rig = Rig(old=["old"])
    await rig.go(State.READY)
    nursery.start_soon(rig.outputs.run)
    await trio.testing.wait_all_tasks_blocked()
    await rig.write("new")
    assert (rig.asked, rig.got) == ([0], [(1, "new")])


async def test_an_engine_that_was_away_is_asked_again(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """For what is new; the run goes on meanwhile."""
    rig = Rig(lost_engine=True)
    nursery.start_soon(rig.outputs.run)
    await rig.go(State.READY)
    await trio.sleep(AGAIN_S * 2.5)
    rig.lost_engine = False
    await trio.sleep(AGAIN_S)
    await rig.write("back")
    assert rig.got == [(1, "back")]
    assert rig.asked == [0, 0, 0, 0]


async def test_who_is_wanted_changes(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """By a reload, in the middle of a run."""
    rig = Rig(wanted=False)
    nursery.start_soon(rig.outputs.run)
    await rig.go(State.READY)
    assert rig.asked == []
    for wanted in (True, False):
        rig.wanted = wanted
        rig.outputs.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert (len(rig.asked), len(rig.outputs._followed)) == (1, int(wanted))


@pytest.mark.parametrize("count", [LINES_MAX, LINES_MAX + 1, 2 * READ_MAX + 50])
async def test_lines_are_bounded(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, count: int
) -> None:
    """So many in a second; the others are counted, and a line tells of them in their place."""
    rig = Rig()
    nursery.start_soon(rig.outputs.run)
    await rig.go(State.READY)
    await rig.write(*map(str, range(count)))
    assert len(rig.got) == LINES_MAX
    await trio.sleep(10.0)
    await rig.write("last")
    lost = "({} lines are left out here: more than 300 in a second)".format
    expected = [str(number) for number in range(LINES_MAX)]
    if count > READ_MAX:
        for second in (1, 2):
            first = second * READ_MAX
            expected.append(lost(READ_MAX - LINES_MAX))
            expected += [str(number) for number in range(first, min(count, first + LINES_MAX))]
        assert rig.lost_lines == 2 * (READ_MAX - LINES_MAX)
    elif count > LINES_MAX:
        expected.append(lost(count - LINES_MAX))
        assert rig.lost_lines == count - LINES_MAX
    assert [line for _, line in rig.got] == [*expected, "last"]
