"""What is pinned and runs while a profile is in force, over reloads and lives of the daemon."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxycore import ServiceId, State
from proxyserver.profiles import Profile
from proxyserver.settings import Changes
from tests.conductor.rig import CHAT, CODER, Rig

from .test_reload import reloading, settings
from .test_replace import small

PROFILES = {"day": (CHAT,), "night": (CODER,)}


def pinned(rig: Rig) -> list[ServiceId]:
    return [spec.id for spec in rig.conductor._core.config.services if spec.pinned]


async def test_a_profile_pins_and_starts(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Another lets go of them; what is no profile changes nothing."""
    first = settings(small(CHAT), small(CODER), profiles=PROFILES)
    async with reloading(tmp_path, first) as (rig, _, _, replacer):
        assert (pinned(rig), rig.state(CHAT)) == ([], State.DOWN)
        await replacer.switch("day")
        await trio.sleep(60.0)
        assert (pinned(rig), rig.state(CHAT)) == ([CHAT], State.READY)
        with pytest.raises(KeyError):
            await replacer.switch("noon")
        assert (replacer.profile, pinned(rig)) == ("day", [CHAT])
        await replacer.switch("night")
        await trio.sleep(60.0)
        assert (pinned(rig), rig.state(CODER)) == ([CODER], State.READY)
        await replacer.switch(None)
        assert (replacer.profile, pinned(rig)) == (None, [])


async def test_a_reload_keeps_the_profile(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Who is new in it starts; a profile that is no more is no longer in force."""
    first = settings(small(CHAT), small(CODER), profiles=PROFILES)
    async with reloading(tmp_path, first) as (rig, files, reloader, replacer):
        await replacer.switch("day")
        files.says = first
        assert (await reloader.reload("asked for")).changes == Changes()
        assert pinned(rig) == [CHAT]
        both = {"day": (CHAT, CODER)}
        files.says = settings(small(CHAT), small(CODER), profiles=both)
        assert (await reloader.reload("asked for")).changes == Changes(server=("profiles",))
        await trio.sleep(60.0)
        assert (pinned(rig), rig.state(CODER)) == ([CHAT, CODER], State.READY)
        files.says = settings(small(CHAT), small(CODER))
        await reloader.reload("asked for")
        assert (replacer.profile, pinned(rig)) == (None, [])


async def test_what_is_preloaded_starts(tmp_path: Path, autojump_clock: MockClock) -> None:
    """With the daemon, or with the reload that says so; it is not pinned."""
    first = settings(small(CHAT), small(CODER), preload=(CHAT,))
    async with reloading(tmp_path, first) as (rig, files, reloader, replacer):
        replacer.begin()
        await trio.sleep(60.0)
        assert (rig.state(CHAT), rig.state(CODER), pinned(rig)) == (State.READY, State.DOWN, [])
        files.says = settings(small(CHAT), small(CODER), preload=(CODER,))
        await reloader.reload("asked for")
        await trio.sleep(60.0)
        assert rig.state(CODER) is State.READY


def test_a_profile_outlives_the_daemon(tmp_path: Path) -> None:
    """Unless none is in force, or the file of it is none of ours."""
    profile = Profile.remembered(tmp_path)
    assert profile.name is None
    profile.switch("day")
    assert Profile.remembered(tmp_path).name == "day"
    profile.switch(None)
    assert Profile.remembered(tmp_path).name is None
    (tmp_path / "profile").write_bytes(b"\xff")
    assert Profile.remembered(tmp_path).name is None
