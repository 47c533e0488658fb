"""What is made of the steps of a pull, and of the room that there is."""

import errno
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from proxycore import Cause
from proxyserver.runtime import EngineImages, PullProgress, RuntimeFault, RuntimeUnreachable
from proxyserver.runtime._pull_steps import Layers, Room, follow
from tests.rig.check_images import check_images
from tests.rig.fake_images import FakeImages


async def test_the_fake_keeps_what_all_keep(autojump_clock: MockClock) -> None:
    """So that what is tested with it holds."""
    fault = Cause("pull_failed", "broken")
    await check_images(FakeImages(faults={"broken:1": fault}), "whole:1", "broken:1")


async def test_room_that_nobody_can_tell_is_not_asked_for_again() -> None:
    """An engine in a machine of its own may name a folder that is not here."""
    asked = 0

    async def free(folder: Path) -> int:
        nonlocal asked
        asked += 1
        raise FileNotFoundError(errno.ENOENT, "no such folder")

    room = Room("tiny:1", Path("/nowhere"), free)
    await room.check(0)
    await room.check(1 << 60)
    assert asked == 1


def test_layers_are_added_up() -> None:
    """Each counts with what has come of it, and retrying is no sign of life."""
    layers = Layers()

    def note(status: str, layer: str = "", current: int = 0, total: int = 0) -> bool:
        detail = {"current": current, "total": total} if total else {}
        return layers.note({"status": status, "id": layer, "progressDetail": detail})

    assert note("Pulling from tiny", "1")
    assert note("Pulling fs layer", "a")
    assert layers.progress == PullProgress("asking the registry", 0, 0)
    assert note("Downloading", "a", 10, 100)
    assert note("Downloading", "b", 5, 50)
    assert not note("Downloading", "b", 5, 50), "nothing came"
    assert layers.progress == PullProgress("Downloading", 15, 150)
    assert not note("Retrying in 5 seconds", "b")
    assert not note("Retrying in 4 seconds", "b")
    assert note("Downloading", "b", 1, 50)
    assert layers.progress == PullProgress("Downloading", 11, 150)
    assert note("Download complete", "b")
    assert note("Extracting", "a", 100, 100)
    assert layers.progress == PullProgress("Extracting", 150, 150)
    assert note("Digest: sha256:00")
    assert note("Status: Image is up to date for tiny:1")
    assert layers.progress == PullProgress("Image is up to date for tiny:1", 150, 150)


def step(status: str, current: int = 0) -> dict[str, Any]:
    return {"status": status, "id": "a", "progressDetail": {"current": current, "total": 100}}


async def much(folder: Path) -> int:
    await trio.lowlevel.checkpoint()
    return 1 << 40


async def followed(steps: AsyncGenerator[Any, None]) -> list[PullProgress]:
    told: list[PullProgress] = []
    room = Room("tiny:1", Path("/data"), much)
    await follow("tiny:1", steps, room, told.append, stall_s=10.0)
    return told


async def test_a_pull_goes_on_while_something_comes(autojump_clock: MockClock) -> None:
    """However long it takes in all."""

    async def steps() -> AsyncGenerator[Any, None]:
        for percent in range(101):
            await trio.sleep(9.0)
            yield step("Downloading", percent)

    told = await followed(steps())
    assert [one.done for one in told] == [*range(101), 100]


async def test_a_pull_that_only_retries_has_stalled(autojump_clock: MockClock) -> None:
    """So long after the last byte."""
    began_at = trio.current_time()

    async def steps() -> AsyncGenerator[Any, None]:
        yield step("Downloading", 50)
        for left in range(100, 0, -1):
            await trio.sleep(1.0)
            yield step(f"Retrying in {left} seconds")

    with pytest.raises(RuntimeFault, match="nothing came for 10 s") as caught:
        await followed(steps())
    assert caught.value.cause.kind == "pull_stalled"
    assert trio.current_time() - began_at == pytest.approx(10.0)


async def test_much_that_comes_at_once_is_told_seldom(autojump_clock: MockClock) -> None:
    """The first, the last, and one each tenth of a second."""

    async def steps() -> AsyncGenerator[Any, None]:
        for percent in range(101):
            await trio.sleep(0.01)
            yield step("Downloading", percent)

    assert 11 <= len(await followed(steps())) <= 13


async def test_room_is_looked_at_again_while_it_comes(autojump_clock: MockClock) -> None:
    """Others fill the disk meanwhile."""
    asked = 0

    async def free(folder: Path) -> int:
        nonlocal asked
        asked += 1
        return 1 << 40 if asked < 4 else 0

    async def steps() -> AsyncGenerator[Any, None]:
        for percent in range(101):
            await trio.sleep(1.0)
            yield step("Downloading", percent)

    room = Room("tiny:1", Path("/data"), free)
    with pytest.raises(RuntimeFault, match="does not fit") as caught:
        await follow("tiny:1", steps(), room, lambda progress: None, stall_s=10.0)
    assert (caught.value.cause.kind, asked) == ("disk_full", 4)


async def test_no_engine(tmp_path: Path) -> None:
    """Where none is, that is said."""
    images = EngineImages(f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnreachable, match=r"No such file.*Is it running"):
        await images.pull("tiny:1", lambda step: None)
