"""What was learnt outlives the daemon, and a broken file never keeps it from its work."""

import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import trio

from proxycore import CoreView, Experience, ExperienceFound, Peak, ServiceId, ServiceView, State
from proxycore._ids import DeviceId
from proxycore.config import GIB, DeviceSpec
from proxyserver.experience import ROWS_MAX, SAVE_S, ExperienceStore

CHAT, CODER = ServiceId("chat"), ServiceId("coder")
GPU = DeviceSpec(DeviceId("gpu0"), 24 * GIB)
LEARNT = Experience(3.5, 10.0, 42.0, 7.0, (Peak((16 * GIB,), ((GPU.id, 14 * GIB),)),))


def view(**experiences: Experience) -> CoreView:
    return CoreView(
        tuple(
            ServiceView(
                ServiceId(name),
                State.DOWN,
                None,
                "",
                0.0,
                None,
                0,
                0,
                None,
                None,
                0,
                None,
                None,
                experience=experience,
            )
            for name, experience in experiences.items()
        ),
        (),
    )


def store(file: Path, chat: str = "f1") -> ExperienceStore:
    return ExperienceStore(file, {CHAT: chat, CODER: "f2"})


async def test_it_comes_back(tmp_path: Path, autojump_clock: object) -> None:
    """With the age of its requests on the clock of the next life."""
    file = tmp_path / "experience.db"
    await trio.sleep(30.0)
    asked_s = trio.current_time() - 20.0
    await store(file).save(view(chat=attrs.evolve(LEARNT, as_of=asked_s), coder=Experience()))
    found = store(file).load(now=1000.0)
    [(service, experience)] = found.experiences
    assert service == CHAT
    assert abs(experience.as_of - 980.0) < 5.0
    assert attrs.evolve(experience, as_of=LEARNT.as_of) == LEARNT


async def test_another_model_starts_afresh(tmp_path: Path) -> None:
    """What it starts is a part of the name; the old experience stays, should it come back."""
    file = tmp_path / "experience.db"
    await store(file).save(view(chat=LEARNT))
    assert store(file, chat="f9").load(0.0) == ExperienceFound(())
    assert store(file).load(0.0).experiences


async def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    """Nothing is lost, and nothing is in the way."""
    file = tmp_path / "experience.db"
    file.write_bytes(b"this is no database, and never was one" * 100)
    broken = store(file)
    assert broken.load(0.0) == ExperienceFound(())
    assert (tmp_path / "experience.broken").exists()
    await broken.save(view(chat=LEARNT))
    assert store(file).load(0.0).experiences


async def test_figures_that_cannot_be_are_put_aside(tmp_path: Path) -> None:
    """A file that somebody has edited is as good as broken."""
    file = tmp_path / "experience.db"
    await store(file).save(view(chat=LEARNT))
    with closing(sqlite3.connect(file)) as database, database:
        database.execute('UPDATE experience SET peaks = \'[{"declared": [-1], "amounts": []}]\'')
    assert store(file).load(0.0) == ExperienceFound(())


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is told of; the daemon goes on, and tries again the next time."""
    folder = tmp_path / "missing"
    lost = store(folder / "experience.db")
    await lost.save(view(chat=LEARNT))
    folder.mkdir()
    await lost.save(view(chat=LEARNT))
    assert store(folder / "experience.db").load(0.0).experiences


async def test_it_is_saved_now_and_then_and_at_the_end(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Half a minute is lost at most, and nothing by a regular end."""
    file = tmp_path / "experience.db"
    known = [view(chat=LEARNT)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store(file).keep, lambda: known[0])
        await trio.sleep(1.5 * SAVE_S)
        for _ in range(10_000):  # A thread writes, and does not know of the clock of this test.
            if store(file).load(0.0).experiences:
                break
            await trio.sleep(0.001)
        assert [one for one, _ in store(file).load(0.0).experiences] == [CHAT]
        known[0] = view(chat=LEARNT, coder=LEARNT)
        nursery.cancel_scope.cancel()
    assert [one for one, _ in store(file).load(0.0).experiences] == [CHAT, CODER]


async def test_it_is_bounded(tmp_path: Path) -> None:
    """The oldest make room."""
    file = tmp_path / "experience.db"
    await store(file).save(view(chat=LEARNT))
    with closing(sqlite3.connect(file)) as database, database:
        database.executemany(
            "INSERT INTO experience VALUES (?, '', ?, 0, 0, 0, 0, '[]', NULL)",
            [(str(number), float(number)) for number in range(ROWS_MAX + 10)],
        )
    await store(file).save(view(coder=LEARNT))
    with closing(sqlite3.connect(file)) as database:
        [[count]] = database.execute("SELECT count(*) FROM experience")
    assert count == ROWS_MAX
    assert len(store(file).load(0.0).experiences) == 2
