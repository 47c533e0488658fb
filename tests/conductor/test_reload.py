"""What a reload owes to those who ask for it, and to those who are served meanwhile."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import CoreConfig, State, journal
from proxyserver import schedules
from proxyserver._watched import watch_files
from proxyserver.access import ADMIN, Key
from proxyserver.experience import ExperienceStore
from proxyserver.in_force import InForce, Replacer
from proxyserver.journal_file import JournalFile
from proxyserver.profiles import Profile
from proxyserver.reload import Outcome, Reloader
from proxyserver.runtime import Runtime
from proxyserver.settings import (
    Changes,
    Problem,
    ServerSettings,
    Service,
    Settings,
    SettingsError,
    Sources,
)
from proxyserver.settings._errors import Marks
from tests.conductor.rig import CHAT, CODER, DEVICES, Rig, conducting

from .test_replace import small

AGAIN_S = 0.005
WRONG = Problem("f", 2, 3, "services.x", "is wrong")


def settings(*services: Service, **server: Any) -> Settings:
    config = CoreConfig(DEVICES, tuple(one.spec for one in services))
    each = {one.spec.id: one for one in services}
    said = ServerSettings(state_dir=Path("/state"), **server)
    return Settings(Path("f"), said, config, each, Marks("f"))


def no_runtime(name: str) -> Runtime:
    raise AssertionError(f"there is no runtime {name}")


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds, which no task can wait for."""
    with trio.fail_after(10.0):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.002)


@attrs.define
class Files:
    """What the files say, as the test has it."""

    says: Settings | Exception
    reads: int = 0
    may_read: Callable[[], object] = lambda: None
    followed: list[Settings] = attrs.field(factory=list)
    lacks: list[Problem] = attrs.field(factory=list)
    """What is missing outside."""
    _alone: threading.Lock = attrs.field(factory=threading.Lock)

    def load(self, text: str | None) -> Settings:
        assert self._alone.acquire(blocking=False), "two at once"
        try:
            self.reads += 1
            self.may_read()
            if isinstance(self.says, Exception):
                raise self.says
            return self.says
        finally:
            self._alone.release()


@asynccontextmanager
async def reloading(
    tmp_path: Path,
    first: Settings,
    journal_file: JournalFile | None = None,
    now: Callable[[], datetime] = schedules.now,
) -> AsyncIterator[tuple[Rig, Files, Reloader, Replacer]]:
    """Run a reloader over a conductor."""
    files, services = Files(first), tuple(first.services.values())

    async def remember(names: object) -> None:
        raise AssertionError("there is no other runtime")

    async def check(settings: Settings) -> None:
        await trio.lowlevel.checkpoint()
        if files.lacks:
            raise SettingsError(files.lacks)

    async with (
        conducting(services=services, journal_file=journal_file) as rig,
        trio.open_nursery() as nursery,
    ):
        replacer = Replacer(
            first,
            InForce.of(first),
            rig.conductor,
            ExperienceStore(tmp_path / "experience.db", {}),
            {"process": no_runtime},  # type: ignore[dict-item]
            no_runtime,
            remember,
            files.followed.append,
            Profile.remembered(tmp_path),
            nursery,
            now,
        )
        reloader = Reloader(files.load, check, replacer, again_s=AGAIN_S)
        nursery.start_soon(reloader.run)
        yield rig, files, reloader, replacer
        nursery.cancel_scope.cancel()


async def test_a_storm_is_two_reloads(tmp_path: Path) -> None:
    """One that is on its way, and one for all who asked meanwhile; none overlaps another."""
    go = threading.Event()
    outcomes: list[str] = []

    async def ask() -> None:
        outcomes.append((await reloader.reload("asked for")).word)

    async with reloading(tmp_path, settings(small(CHAT))) as (_, files, reloader, _):
        files.may_read = lambda: go.wait(5.0)
        files.says = settings(small(CHAT), small(CODER))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until(lambda: files.reads > 0)
            for _ in range(50):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            go.set()
    assert files.reads == 2
    assert outcomes == ["changed"] + ["unchanged"] * 50


async def test_who_leaves_does_not_stop_it(tmp_path: Path) -> None:
    """A client that asked and went away has asked all the same."""
    go = threading.Event()
    async with reloading(tmp_path, settings(small(CHAT))) as (rig, files, reloader, _):
        files.may_read = lambda: go.wait(5.0)
        files.says = settings(small(CODER))
        with trio.move_on_after(0.05):
            await reloader.reload("asked for")
        go.set()
        await until(lambda: files.followed != [])
        assert [one.id for one in rig.conductor.view().services] == [CODER]


@pytest.mark.parametrize("fault", [SettingsError([WRONG]), ZeroDivisionError("ours")])
async def test_what_is_wrong_changes_nothing(tmp_path: Path, fault: Exception) -> None:
    """It is told until it is good; a bug of ours that it meets ends nothing either."""
    async with reloading(tmp_path, settings(small(CHAT))) as (rig, files, reloader, _):
        files.says = fault
        outcome = await reloader.reload("asked for")
        assert (outcome.word, files.followed) == ("refused", [])
        [problem] = reloader.as_json()["problems"]
        assert problem["message"] in ("is wrong", "a bug of the proxy: ZeroDivisionError('ours')")
        assert (await reloader.diff()).word == "refused"
        assert [one.id for one in rig.conductor.view().services] == [CHAT]
        files.says = settings(small(CHAT), small(CODER))
        assert (await reloader.diff()).changes == Changes(added=(CODER,))
        assert reloader.as_json()["problems"] != []
        assert (await reloader.reload("asked for")).word == "changed"
        assert reloader.as_json()["problems"] == []


async def test_what_is_missing_outside_is_looked_for_again(tmp_path: Path) -> None:
    """Who has fetched an image need not say so; what the files say wrong waits for the files."""
    async with reloading(tmp_path, settings(small(CHAT))) as (_, files, reloader, _):
        files.says, files.lacks = settings(small(CHAT), small(CODER)), [WRONG]
        assert (await reloader.reload("asked for")).word == "refused"
        reads = files.reads
        await until(lambda: files.reads > reads + 1)
        assert (files.followed, reloader.as_json()["problems"][0]["message"]) == ([], "is wrong")
        files.lacks = []
        await until(lambda: files.followed != [])
        assert reloader.as_json()["problems"] == []
        files.says = SettingsError([WRONG])
        assert (await reloader.reload("asked for")).word == "refused"
        reads = files.reads
        await trio.sleep(10 * AGAIN_S)
        assert files.reads == reads


async def test_what_needs_a_restart_waits_for_it(tmp_path: Path) -> None:
    """It is told as long as it differs; all else is put into force."""
    async with reloading(tmp_path, settings(small(CHAT))) as (_, files, reloader, _):
        files.says = settings(small(CHAT), port=99, stall_s=5.0)
        outcome = await reloader.reload("asked for")
        assert outcome.changes == Changes(server=("stall_s",), needs_restart=("port",))
        assert (files.followed[-1].server.port, files.followed[-1].server.stall_s) == (8787, 5.0)
        assert (await reloader.reload("asked for")).word == "unchanged"
        assert reloader.as_json()["needs_restart"] == ["port"]
        files.says = settings(small(CHAT), stall_s=5.0)
        await reloader.reload("asked for")
        assert reloader.as_json()["needs_restart"] == []


async def test_nobody_is_let_in_without_a_key_by_a_reload(tmp_path: Path) -> None:
    """Keys go at once, while the host stays until a restart: so they may not go."""
    key = Key("me", b"digest", frozenset({ADMIN}))
    first = settings(small(CHAT), host="0.0.0.0", keys=(key,))
    async with reloading(tmp_path, first) as (_, files, reloader, _):
        files.says = settings(small(CHAT))
        [problem] = (await reloader.reload("asked for")).problems
        assert (problem.path, files.followed) == ("server.keys", [])
        files.says = settings(small(CHAT), allow_without_keys=True)
        assert (await reloader.reload("asked for")).word == "changed"


async def test_pinned_ones_are_there_again_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Those that ran; others wait until somebody wants them."""

    def both(fingerprint: str) -> Settings:
        fixed = small(CHAT, fingerprint)
        fixed = attrs.evolve(fixed, spec=attrs.evolve(fixed.spec, pinned=True))
        other = small(CODER, fingerprint)
        return settings(fixed, other)

    async with reloading(tmp_path, both("1")) as (rig, files, reloader, _):
        files.says = both("2")
        await reloader.reload("asked for")
        await trio.sleep(60.0)
        assert (rig.state(CHAT), rig.state(CODER)) == (State.DOWN, State.DOWN)
        await rig.conductor.start(CHAT)
        await rig.conductor.start(CODER)
        files.says = both("3")
        await reloader.reload("asked for")
        await trio.sleep(60.0)
        assert (rig.state(CHAT), rig.state(CODER)) == (State.READY, State.DOWN)


async def test_another_policy_decides_from_then_on(tmp_path: Path) -> None:
    """Runs live on, explanations name it, and the journal replays with it."""
    file = JournalFile(tmp_path / "journal")
    async with reloading(tmp_path, settings(small(CHAT)), file) as (rig, files, reloader, _):
        async with rig.conductor.slot(CHAT) as slot:
            files.says = settings(small(CHAT), policy="lru")
            await reloader.reload("asked for")
            assert slot.run == 1
        assert rig.decisions.policy == "lru"
        file.close()
        assert rig.conductor.view().service(CHAT).in_flight == 0
    lines = (tmp_path / "journal/journal.jsonl").read_text().splitlines()
    assert [one for one in journal.replay(lines) if one.differs] == []
    assert '"policy":"lru"' in "".join(lines).replace(" ", "")


@attrs.define
class FakeReader:
    """Reads one file, and remembers what it found."""

    file: Path
    sources: Sources = attrs.field(factory=Sources)
    read: list[str] = attrs.field(factory=list)

    def look(self) -> Outcome:
        """Read the file; what begins with `bad` cannot be used."""
        said = self.file.read_text() if self.file.exists() else "bad: gone"
        return Outcome(problems=(WRONG,) if said.startswith("bad") else ())

    async def diff(self, text: str | None = None) -> Outcome:
        return self.look()

    async def reload(self, why: str) -> Outcome:
        self.sources = Sources()
        self.sources.note(self.file)
        self.sources.matches(f"{self.file.parent}/conf.d/*.yaml")
        self.read.append(self.file.read_text() if self.file.exists() else "gone")
        return self.look()

    async def wait_read(self, what: str) -> None:
        await until(lambda: self.read[-1] == what)


async def test_files_are_followed_however_they_change(tmp_path: Path) -> None:
    """Written, renamed into place, turned as a link, deleted, come into a folder; each once."""
    (tmp_path / "conf.d").mkdir()
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "c.yaml").write_text(f"link {version}")
    (tmp_path / "data").symlink_to("1")
    file = tmp_path / "c.yaml"
    file.write_text("first")
    reader = FakeReader(file)
    await reader.reload("")
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await watch_files(reader, look_s=0.03, patience_s=0.3)

        nursery.start_soon(watch)
        file.write_text("written")
        await reader.wait_read("written")
        (tmp_path / "new").write_text("renamed")
        (tmp_path / "new").rename(file)
        await reader.wait_read("renamed")
        file.unlink()
        file.symlink_to("data/c.yaml")
        await reader.wait_read("link 1")
        (tmp_path / "turned").symlink_to("2")
        (tmp_path / "turned").rename(tmp_path / "data")
        await reader.wait_read("link 2")
        (tmp_path / "conf.d/more.yaml").write_text("")
        await until(lambda: len(reader.read) == 6)
        file.unlink()
        await reader.wait_read("gone")
        await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
    assert reader.read == ["first", "written", "renamed", "link 1", "link 2", "link 2", "gone"]


async def test_half_a_file_is_no_mistake_yet(tmp_path: Path) -> None:
    """What cannot be used has more time to become whole; then it is told."""
    file = tmp_path / "c.yaml"
    file.write_text("first")
    reader = FakeReader(file)
    await reader.reload("")
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await watch_files(reader, look_s=0.03, patience_s=0.5)

        nursery.start_soon(watch)
        file.write_text("bad: half")
        await trio.sleep(0.2)
        file.write_text("whole now")
        await reader.wait_read("whole now")
        file.write_text("bad: for good")
        await reader.wait_read("bad: for good")
        nursery.cancel_scope.cancel()
    assert reader.read == ["first", "whole now", "bad: for good"]
