"""Work is what counts, whatever goes on beside it."""

import pytest
import trio
from trio.testing import MockClock

from proxyserver._beside import beside


async def test_what_goes_on_ends_with_the_work(autojump_clock: MockClock) -> None:
    """And what it returns is returned."""
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(trio.current_time())
            await trio.sleep(1.0)

    async def work() -> str:
        await trio.sleep(2.5)
        return "done"

    assert await beside(beat, work) == "done"
    await trio.sleep(5.0)
    assert len(beats) == 3


async def test_what_it_raises_comes_as_it_is(autojump_clock: MockClock) -> None:
    """In no group; and an early end beside it is none of the work."""

    async def work() -> str:
        await trio.sleep(1.0)
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        await beside(trio.lowlevel.checkpoint, work)


async def test_who_is_cancelled_stays_so(autojump_clock: MockClock) -> None:
    """With all that goes on."""
    with trio.move_on_after(1.0) as scope:
        await beside(trio.sleep_forever, trio.sleep_forever)
    assert scope.cancelled_caught
