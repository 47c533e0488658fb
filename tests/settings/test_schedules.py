"""Hours of the week: how they are written, and which points in time they cover."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.settings import Schedule
from proxyserver.settings._schedules import DAYS

from .writing import Folder

SERVICES = """
    services:
      coder:
        external: {url: "http://127.0.0.1:9"}
"""
BERLIN = ZoneInfo("Europe/Berlin")


def schedule(hours: str, *days: str, timezone: str = "Europe/Berlin") -> Schedule:
    return Schedule(hours, days or DAYS, timezone, None, 60.0)


def berlin(day: int, hour: int, minute: int, *, month: int = 11, fold: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN, fold=fold).astimezone(UTC)


def test_schedules_are_read(folder: Folder) -> None:
    """What is not said is every hour, every day, by the machine's clock, for all."""
    said = """
    server:
      schedules:
        - {hours: "22:00-07:00", days: [fri], timezone: UTC, services: [coder], idle_s: 60}
        - {idle_s: never}
"""
    server = folder.load(said + SERVICES).server
    assert server.schedules == (
        Schedule("22:00-07:00", ("fri",), "UTC", ("coder",), 60.0),  # type: ignore[arg-type]
        Schedule("00:00-24:00", DAYS, None, None, "never"),
    )


def test_what_is_wrong_is_told_at_its_place(folder: Folder) -> None:
    said = """
    server:
      schedules:
        - {hours: 9-17, days: [tues], timezone: Berlin, idle_s: soon}
        - {hours: "08:00-08:00", timezone: ../zone}
"""
    no_hours = "are no hours: write 22:00-07:00, with two digits each, up to 24:00"
    problems = folder.problems(said + SERVICES)
    assert [one.partition(": server.schedules")[2] for one in problems] == [
        f"[0].hours: '9-17' {no_hours}",
        f"[0].days[0]: expected {' or '.join(DAYS)}, not 'tues'; did you mean 'tue'?",
        "[0].timezone: 'Berlin' is no time zone: write Europe/Berlin, or UTC",
        (
            "[0].idle_s: expected seconds, or a duration such as 30s or 5m, not 'soon';"
            " or 'auto', 'never'"
        ),
        "[1].idle_s: is missing",
        f"[1].hours: '08:00-08:00' {no_hours}",
        "[1].timezone: '../zone' is no time zone: write Europe/Berlin, or UTC",
    ]


def test_a_schedule_names_services_that_are_there(folder: Folder) -> None:
    said = "    server: {schedules: [{services: [codre], idle_s: 60}]}"
    [problem] = folder.problems(said + SERVICES)
    assert problem.startswith("1:34: server.schedules[0].services[0]: there is no service 'codre'")


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        (berlin(27, 21, 59), False),
        (berlin(27, 22, 0), True),  # A Friday.
        (berlin(28, 6, 59), True),
        (berlin(28, 7, 0), False),
        (berlin(28, 22, 0), False),
        (berlin(29, 6, 59), False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(at: datetime, covered: bool) -> None:
    assert schedule("22:00-07:00", "fri").covers(at) is covered


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        (berlin(29, 1, 59, month=3), False),  # Then the clock goes from 2 to 3.
        (berlin(29, 3, 0, month=3), False),
        (berlin(25, 2, 30, month=10), True),  # Here it goes back from 3 to 2.
        (berlin(25, 2, 30, month=10, fold=1), True),
        (berlin(25, 3, 0, month=10), False),
    ],
)
def test_hours_are_those_of_the_wall(at: datetime, covered: bool) -> None:
    """One that is skipped covers nothing, and one that comes twice, twice."""
    assert schedule("02:00-03:00").covers(at) is covered


@given(
    st.integers(0, 24 * 60 - 1),
    st.integers(1, 24 * 60),
    st.sampled_from(DAYS),
    st.integers(0, 7 * 24 * 60 - 1),
)
def test_it_covers_what_counting_minutes_says(begin: int, length: int, day: str, at: int) -> None:
    """In a week of a zone whose clock never jumps, against minutes counted from its begin."""
    end = (begin + length) % (24 * 60)
    if end == begin:
        return
    written = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    since = (at - DAYS.index(day) * 24 * 60 - begin) % (7 * 24 * 60)
    covers = schedule(written, day, timezone="UTC").covers(monday + timedelta(minutes=at))
    assert covers is (since < (length if length < 24 * 60 else 0))
