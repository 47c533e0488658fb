"""Statistics of use: what is summed up, how it is kept, and what becomes of it when it breaks."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from loguru import logger
from trio.testing import MockClock

from proxycore import (
    RAM,
    Changed,
    CoreView,
    DeviceId,
    DeviceView,
    Placement,
    RunId,
    ServiceId,
    ServiceView,
    State,
)
from proxyserver.gauges import Measurement
from proxyserver.gauges._protocol import Vitals
from proxyserver.http import Outcome, RequestRecord
from proxyserver.telemetry._store import OTHER
from proxyserver.telemetry.starts import Phase, Start
from proxyserver.telemetry.usage import Collector, UsageStore
from proxyserver.telemetry.usage._rows import Asked, Held, plus
from proxyserver.telemetry.usage.collector import ROWS_MAX
from proxyserver.wire import Usage

CHAT, CODER, GPU = ServiceId("chat"), ServiceId("coder"), DeviceId("gpu0")
TODAY, LATER = "2026-11-27", "2026-11-28"
NOON = 1_795_780_800.0
"""Of that day."""
DAY_S = 86400.0


def record(
    service: ServiceId | None = CHAT,
    outcome: Outcome = Outcome.ANSWERED,
    status: int | None = 200,
    **more: Any,
) -> RequestRecord:
    plain = RequestRecord(
        "id", "POST", "/v1/chat/completions", service, RunId(1), status, 0.5, 1.0, 2.0, 10, 20,
        outcome, None,
    )  # fmt: skip
    return attrs.evolve(plain, **more)


def service(id: ServiceId, in_flight: int = 0, state: State = State.READY) -> ServiceView:
    run = RunId(1 if id == CHAT else 2)
    claims = Placement.of([(RAM, 100), (GPU, 1000)])
    return ServiceView(id, state, run, "", 0.0, claims, 0, in_flight, None, None, 0, None, None)


@attrs.define
class Seen:
    """What the collector is shown."""

    services: tuple[ServiceView, ...] = ()
    measured: Mapping[DeviceId, Measurement] = attrs.field(factory=dict)
    time: float = NOON

    def view(self) -> CoreView:
        devices = (
            DeviceView(RAM, 10_000, 0, 0, 0, 0),
            DeviceView(GPU, 10_000, 0, 0, 0, 0),
        )
        return CoreView(self.services, devices)

    def measurement(self, device: DeviceId) -> Measurement | None:
        return self.measured.get(device)

    def collector(self, store: UsageStore) -> Collector:
        return Collector(store, self.view, self, lambda: self.time)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    told: list[str] = []
    number = logger.add(lambda message: told.append(message.record["message"]), level="WARNING")
    yield told
    logger.remove(number)


# Sums


@pytest.mark.parametrize(
    ("outcome", "status", "counts"),
    [
        (Outcome.ANSWERED, 200, None),
        (Outcome.ANSWERED, 404, None),
        (Outcome.ANSWERED, 500, "failed"),
        (Outcome.BROKEN, 200, "failed"),
        (Outcome.BUG, 500, "failed"),
        (Outcome.REJECTED, 503, "refused"),
        (Outcome.CLIENT_GONE, None, "left"),
        (Outcome.CANCELLED, 200, "left"),
        (Outcome.CUT, 200, "left"),
    ],
)
def test_requests_count_by_how_they_end(
    outcome: Outcome, status: int | None, counts: str | None
) -> None:
    row = Asked()
    row.add(record(outcome=outcome, status=status))
    found = {name for name in ("failed", "refused", "left") if getattr(row, name)}
    assert (row.requests, found) == (1, {counts} - {None})


def test_rows_add_up_and_peaks_do_not() -> None:
    row = Held(starts=1, run_s=2.0, vram_peak=7, ram_peak=1)
    plus(row, Held(starts=2, run_s=0.5, vram_peak=3, ram_peak=4))
    assert row == Held(starts=3, run_s=2.5, vram_peak=7, ram_peak=4)


# The file


def test_what_is_added_is_summed_up_by_each(file: Path) -> None:
    """Over lives of the daemon; the days that are asked for, and no others."""
    one = Asked(requests=1, output_tokens=5, duration_s=1.5)
    store = UsageStore(file, 30)
    store.add(TODAY, {(TODAY, "chat", "m", "anna"): one, (TODAY, "chat"): Held(vram_peak=5)})
    store.close()
    again = UsageStore(file, 30)
    again.add(TODAY, {(TODAY, "chat", "n", ""): one, (TODAY, "chat"): Held(starts=1, vram_peak=3)})
    again.add(LATER, {(LATER, "coder", "m", "anna"): one})
    [chat] = again.sums("service", TODAY, TODAY)
    assert (chat["requests"], chat["output_tokens"], chat["duration_s"]) == (2, 10, 3.0)
    assert (chat["starts"], chat["vram_peak"], chat["energy_j"]) == (1, 5, 0.0)
    both = again.sums("model", TODAY, LATER)
    assert [(row["model"], row["requests"]) for row in both] == [("m", 2), ("n", 1)]
    assert "starts" not in both[0]
    keys = again.sums("key", TODAY, LATER)
    assert [(row["key"], row["requests"]) for row in keys] == [("anna", 2), ("", 1)]
    assert [row["day"] for row in again.sums("day", TODAY, LATER)] == [TODAY, LATER]
    assert again.sums("service", "2026-01-01", "2026-01-02") == []
    again.close()


def test_old_days_go(file: Path) -> None:
    """When a day begins; today counts as the first of those that are kept."""
    store = UsageStore(file, 2)
    for day in ("2026-11-25", "2026-11-26", TODAY):
        store.add(day, {(day, "chat", "m", ""): Asked(requests=1), (day, "chat"): Held()})
    assert [row["day"] for row in store.sums("day", "2026-01-01", LATER)] == ["2026-11-26", TODAY]
    store.close()


def test_a_broken_file_is_put_aside(file: Path, warnings: list[str]) -> None:
    """It is told of, kept for whoever wants to look, and counting goes on."""
    file.write_bytes(b"this is no database, however long it is" * 100)
    store = UsageStore(file, 30)
    store.add(TODAY, {(TODAY, "chat", "m", ""): Asked(requests=1)})
    assert len(store.sums("service", TODAY, TODAY)) == 1
    store.close()
    assert file.with_suffix(".broken").read_bytes().startswith(b"this is no database")
    assert [one.partition(",")[0] for one in warnings] == ["the statistics cannot be read"]


def test_a_file_that_breaks_later_is_put_aside(file: Path, warnings: list[str]) -> None:
    """Also where its head is whole, so that it opens."""
    store = UsageStore(file, 30)
    store.add(TODAY, {(TODAY, "chat", str(n), ""): Asked(requests=1) for n in range(3000)})
    store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:8192] + b"\xaa" * (len(whole) - 8192))
    store.add(TODAY, {(TODAY, "chat", "5", ""): Asked(requests=1)})
    [chat] = store.sums("service", TODAY, TODAY)
    store.close()
    assert (chat["requests"], len(warnings)) == (1, 1)
    assert file.with_suffix(".broken").stat().st_size == len(whole)


def test_days_may_be_kept_for_ever(file: Path) -> None:
    """There is no day that so many days ago would be."""
    store = UsageStore(file, 1_000_000)
    store.add(TODAY, {("2001-01-01", "chat", "m", ""): Asked(requests=1)})
    assert [row["day"] for row in store.sums("day", "0001-01-01", TODAY)] == ["2001-01-01"]
    store.close()


async def test_a_file_of_a_newer_version_is_left_alone(file: Path, warnings: list[str]) -> None:
    """Nothing is written, which is told once, and requests go on."""
    with closing(sqlite3.connect(file)) as newer:
        newer.execute("PRAGMA user_version = 2")
    before = await trio.Path(file).read_bytes()
    collector = Seen().collector(UsageStore(file, 30))
    for _ in range(3):
        collector.request(record())
        await collector.flush()
    assert await trio.Path(file).read_bytes() == before
    [told] = warnings
    assert "newer version" in told
    with pytest.raises(OSError, match="newer version"):
        await sums(collector)


@pytest.mark.parametrize("moment", ["while it adds", "after it added"])
def test_who_is_killed_keeps_what_was_added(file: Path, moment: str) -> None:
    """All of a call or nothing of it, and a file that is whole."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from proxyserver.telemetry.usage import UsageStore\n"
        "from proxyserver.telemetry.usage._rows import Asked\n"
        "store = UsageStore(Path(sys.argv[1]), 30)\n"
        "rows = {('2026-11-27', 'chat', str(n), ''): Asked(requests=1) for n in range(100)}\n"
        "while True:\n"
        "    store.add('2026-11-27', rows)\n"
        "    print('added', flush=True)\n"
        + ("    sys.stdin.readline()\n" if moment == "after it added" else "")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        times = 5 if moment == "while it adds" else 1
        for _ in range(times):
            assert process.stdout.readline() == "added\n"
        process.send_signal(signal.SIGKILL)
        times += len(process.stdout.read().split())
    store = UsageStore(file, 30)
    [chat] = store.sums("service", TODAY, TODAY)
    store.close()
    # One more may be in the file that nobody was told of any more.
    assert chat["requests"] in (100 * times, 100 * (times + 1))


# What is heard and seen


async def sums(collector: Collector, by: str = "service") -> list[dict[str, Any]]:
    return [dict(row) for row in await collector.sums(by, "2026-01-01", "2026-12-31")]


async def test_requests_count_by_day_model_and_key(file: Path) -> None:
    """On the day, of UTC, on which they end; what was for no service does not count."""
    seen = Seen()
    collector = seen.collector(UsageStore(file, 30))
    usage = Usage(input=7, output=3, cached=2)
    collector.request(record(model="m", key="anna", usage=usage))
    collector.request(record(None))
    seen.time = NOON + DAY_S / 2 - 0.001
    collector.request(record(usage=Usage(output=1)))
    seen.time = NOON + DAY_S / 2
    collector.request(record(CODER))
    assert [(row["day"], row["requests"]) for row in await sums(collector, "day")] == [
        (TODAY, 2),
        (LATER, 1),
    ]
    chat, coder = await sums(collector)
    assert (chat["input_tokens"], chat["cached_tokens"], chat["output_tokens"]) == (7, 2, 4)
    assert (chat["duration_s"], chat["waited_s"], chat["bytes_in"], chat["bytes_out"]) == (
        4.0, 1.0, 20, 40,
    )  # fmt: skip
    assert coder["requests"] == 1
    by_model = await sums(collector, "model")
    assert {row["model"] for row in by_model} == {"m", "chat", "coder"}
    by_key = await sums(collector, "key")
    assert {row["key"]: row["requests"] for row in by_key} == {"anna": 1, "": 2}


async def test_starts_and_evictions_count(file: Path) -> None:
    """Who leaves for another reason than room is not evicted."""
    collector = Seen().collector(UsageStore(file, 30))
    phases = (Phase("load", 0.0, 1.0),)
    for ready in (True, True, False):
        collector.start(Start(CHAT, RunId(1), False, phases, 1.0, ready))
    for why in ("room for coder", "idle", "stopped by hand"):
        collector.changed(Changed(CHAT, RunId(1), State.READY, State.STOPPING, why))
    [chat] = await sums(collector)
    assert (chat["starts"], chat["failed_starts"], chat["evictions"]) == (2, 1, 1)


async def test_what_services_hold_is_looked_at(file: Path, autojump_clock: MockClock) -> None:
    """As it was measured, else as it is claimed; power goes to who serves, else to all there."""
    seen = Seen((service(CHAT, in_flight=1), service(CODER)))
    collector = seen.collector(UsageStore(file, 30))
    collector.look()
    await trio.sleep(2.0)
    collector.look()  # Claims alone.
    seen.measured = {
        GPU: Measurement(GPU, 10_000, 0, {RunId(1): 3000}, 0.0, vitals=Vitals(power_w=100.0)),
        RAM: Measurement(RAM, 10_000, 0, {RunId(1): 50, RunId(2): 60}, 0.0),
    }
    await trio.sleep(1.0)
    collector.look()
    seen.services = (service(CHAT), service(CODER), service(ServiceId("down"), 0, State.BACKOFF))
    await trio.sleep(1.0)
    collector.look()
    seen.services = (service(CHAT), service(CODER))
    await trio.sleep(3600.0)
    collector.look()  # The machine slept: nobody knows what was so meanwhile.
    chat, coder = await sums(collector)
    assert (chat["run_s"], chat["idle_s"], chat["gpu_s"]) == (4.0, 1.0, 4.0)
    assert (chat["vram_byte_s"], chat["vram_peak"]) == (2 * 1000 + 2 * 3000, 3000)
    assert (chat["ram_byte_s"], chat["ram_peak"]) == (2 * 100 + 2 * 50, 100)
    assert chat["energy_j"] == 100.0 + 50.0
    assert (coder["run_s"], coder["idle_s"], coder["energy_j"]) == (4.0, 4.0, 50.0)
    assert (coder["vram_byte_s"], coder["ram_byte_s"]) == (4 * 1000, 2 * 100 + 2 * 60)


@pytest.fixture
def folder_in_its_place(file: Path) -> Path:
    file.mkdir()  # Nobody can write into that, root neither.
    return file


async def test_what_cannot_be_written_waits(folder_in_its_place: Path, warnings: list[str]) -> None:
    """It is told of once, and all of it is there when the disk is."""
    collector = Seen().collector(UsageStore(folder_in_its_place, 30))
    for _ in range(3):
        collector.request(record())
        await collector.flush()
    assert len(warnings) == 1
    await trio.Path(folder_in_its_place).rmdir()
    [chat] = await sums(collector)
    assert chat["requests"] == 3


async def test_who_asks_and_goes_takes_nothing_along(file: Path) -> None:
    """A client that hangs up while its question waits for a thread."""
    collector = Seen().collector(UsageStore(file, 30))
    collector.request(record())
    limiter = trio.to_thread.current_default_thread_limiter()
    threads, limiter.total_tokens = limiter.total_tokens, 1
    limiter.acquire_on_behalf_of_nowait(file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sums, collector)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    limiter.release_on_behalf_of(file)
    limiter.total_tokens = threads
    [chat] = await sums(collector)
    assert chat["requests"] == 1


async def test_memory_is_bounded_while_the_disk_fails(folder_in_its_place: Path) -> None:
    """What comes while it fails is as bounded as what it failed with."""
    store = UsageStore(folder_in_its_place, 30)
    collector = Seen().collector(store)
    for turn in range(3):
        async with trio.open_nursery() as nursery:
            with store._lock:  # A slow disk.
                nursery.start_soon(collector.flush)
                await trio.testing.wait_all_tasks_blocked()
                for number in range(ROWS_MAX):
                    collector.request(record(model=f"model-{turn}-{number}"))
    await collector.flush()
    assert len(collector._rows) <= ROWS_MAX + 1
    await trio.Path(folder_in_its_place).rmdir()
    assert sum(row["requests"] for row in await sums(collector)) == 3 * ROWS_MAX


async def test_memory_is_bounded(file: Path) -> None:
    """However many models and keys there are while nothing can be written; none is lost."""
    collector = Seen().collector(UsageStore(file, 30))
    many = ROWS_MAX + 1000
    for number in range(many):
        collector.request(record(model=f"model-{number}"))
    assert len(collector._rows) <= ROWS_MAX + 1
    by_model = await sums(collector, "model")
    assert sum(row["requests"] for row in by_model) == many
    assert by_model[0]["model"] == OTHER


async def test_it_is_written_every_second_and_at_the_end(
    file: Path, autojump_clock: MockClock
) -> None:
    """So that who kills the daemon loses a second."""
    collector = Seen().collector(UsageStore(file, 30))

    def kept() -> int:
        other = UsageStore(file, 30)
        try:
            return sum(int(row["requests"]) for row in other.sums("service", TODAY, TODAY))
        finally:
            other.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        collector.request(record())
        await trio.sleep(1.5)
        async with collector._turn:  # Time goes on while threads work.
            assert kept() == 1
        nursery.cancel_scope.cancel()
    collector.request(record())
    await collector.close()
    assert kept() == 2
