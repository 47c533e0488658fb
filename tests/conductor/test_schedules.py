"""What schedules do while the daemon runs: others come into force by the clock on the wall."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from trio.testing import MockClock

from proxycore import ServiceId, State
from proxyserver.settings import Schedule
from proxyserver.settings._schedules import DAYS
from tests.conductor.rig import CHAT, CODER, Rig

from .test_reload import reloading, settings
from .test_replace import small

EVENING = datetime(2026, 11, 27, 21, 58, 30, tzinfo=UTC)
NIGHT = Schedule("22:00-22:30", DAYS, "UTC", (CHAT,), 45.0)
ALWAYS = Schedule("00:00-24:00", DAYS, "UTC", None, 90.0)


def clock() -> datetime:
    return EVENING + timedelta(seconds=trio.current_time())


def idle_times(rig: Rig) -> dict[ServiceId, float | None]:
    return {spec.id: spec.idle_s for spec in rig.conductor._core.config.services}


async def test_a_schedule_holds_for_its_hours(tmp_path: Path, autojump_clock: MockClock) -> None:
    """From its minute on, for the services that it names; who is idle for longer stops."""
    first = settings(small(CHAT), small(CODER), schedules=(NIGHT,))
    async with (
        reloading(tmp_path, first, now=clock) as (rig, _, _, replacer),
        trio.open_nursery() as nursery,
    ):
        usual = idle_times(rig)
        nursery.start_soon(replacer.follow_schedules)
        await rig.conductor.start(CHAT)
        await trio.sleep(89.0 - trio.current_time())
        assert (idle_times(rig), rig.state(CHAT)) == (usual, State.READY)
        await trio.sleep(2.0)
        assert idle_times(rig) == {**usual, CHAT: 45.0}
        await trio.sleep(60.0)
        assert rig.state(CHAT) is State.DOWN
        await trio.sleep(30 * 60.0)
        assert idle_times(rig) == usual
        nursery.cancel_scope.cancel()


async def test_the_first_that_covers_a_service_holds(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """So exceptions stand above the rule; a reload may bring others, at once."""
    first = settings(small(CHAT), small(CODER))
    async with reloading(tmp_path, first, now=lambda: EVENING) as (rig, files, reloader, _):
        usual = idle_times(rig)
        late = Schedule("21:00-22:00", DAYS, "UTC", (CHAT,), 45.0)
        files.says = settings(small(CHAT), small(CODER), schedules=(late, ALWAYS))
        await reloader.reload("asked for")
        assert idle_times(rig) == {CHAT: 45.0, CODER: 90.0}
        assert reloader.as_json()["schedules"] == [str(late), str(ALWAYS)]
        assert (await reloader.reload("asked for")).word == "unchanged"
        assert idle_times(rig) == {CHAT: 45.0, CODER: 90.0}
        files.says = first
        await reloader.reload("asked for")
        assert (idle_times(rig), reloader.as_json()["schedules"]) == (usual, [])
