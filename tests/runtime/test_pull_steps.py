"""What is made of the steps of a pull, and of the room that there is."""

import errno
from pathlib import Path

import pytest
from trio.testing import MockClock

from proxycore import Cause
from proxyserver.runtime import EngineImages, PullProgress, RuntimeUnreachable
from proxyserver.runtime._pull_steps import Layers, Room
from tests.rig.check_images import check_images
from tests.rig.fake_images import FakeImages


async def test_the_fake_keeps_what_all_keep(autojump_clock: MockClock) -> None:
    """So that what is tested with it holds."""
    fault = Cause("pull_failed", "broken")
    await check_images(FakeImages(faults={"broken:1": fault}), "whole:1", "broken:1")


async def test_room_that_nobody_can_tell_is_not_asked_for_again() -> None:
    """An engine in a machine of its own may name a folder that is not here."""
    asked = 0

    def free(folder: Path) -> int:
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


async def test_no_engine(tmp_path: Path) -> None:
    """Where none is, that is said."""
    images = EngineImages(f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeUnreachable, match=r"No such file.*Is it running"):
        await images.pull("tiny:1", lambda step: None)
