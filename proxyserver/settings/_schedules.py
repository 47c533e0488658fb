"""When which idle time holds: hours of the week, by the clock on the wall."""

import re
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

import attrs

from proxycore import ServiceId

from ._model import Day, ServerEntry
from ._plain import word
from ._units import shown

DAYS = get_args(Day)
"""In the order in which `datetime` counts them."""
_TIME = r"([01][0-9]|2[0-3]):([0-5][0-9])"
_HOURS = re.compile(rf"{_TIME}-(?:{_TIME}|24:00)")
Idle: TypeAlias = float | Literal["auto", "never"]


@attrs.frozen
class Schedule:
    """An idle time that holds at certain hours.

    Hours are those of a clock on the wall, whatever becomes of it in summer: one that is skipped
    holds for no time, and one that comes twice, twice.
    """

    hours: str
    """As it was written: `22:00-07:00`."""
    days: tuple[str, ...]
    """On which they begin; what is after midnight belongs to the day before."""
    timezone: str | None
    """None: the machine's."""
    services: tuple[ServiceId, ...] | None
    """None: all."""
    idle_s: Idle

    def __str__(self) -> str:
        idle = f"{self.idle_s:g} s" if isinstance(self.idle_s, float) else self.idle_s
        who = "all" if self.services is None else ", ".join(self.services)
        return f"{self.hours} (idle_s {idle} for {who})"

    def covers(self, now: datetime) -> bool:
        """Tell whether it holds at a point in time.

        >>> from datetime import UTC
        >>> night = Schedule("22:00-07:00", ("fri",), "UTC", None, 60.0)
        >>> night.covers(datetime(2026, 11, 28, 6, 59, tzinfo=UTC))  # A Saturday.
        True
        >>> night.covers(datetime(2026, 11, 27, 6, 59, tzinfo=UTC))
        False
        """
        here = now.astimezone(None if self.timezone is None else ZoneInfo(self.timezone))
        begin, _, end = self.hours.partition("-")
        at = here.strftime("%H:%M")  # As texts they are in order, too.
        if begin < end:
            return self._begins_on(here) and begin <= at < end
        yesterday = here - timedelta(days=1)
        return (at >= begin and self._begins_on(here)) or (at < end and self._begins_on(yesterday))

    def _begins_on(self, day: datetime) -> bool:
        return DAYS[day.weekday()] in self.days


def schedules_of(entry: ServerEntry) -> tuple[Schedule, ...]:
    """Return all that the configuration has, the first that covers a service first."""
    return tuple(
        Schedule(
            one.hours,
            tuple(one.days),
            one.timezone,
            None if one.services is None else tuple(map(ServiceId, one.services)),
            one.idle_s,
        )
        for one in entry.schedules
    )


def hours(value: Any) -> str:
    """Read hours of a day."""
    text = word(value)
    begin, _, end = text.partition("-")
    if not _HOURS.fullmatch(text) or begin == end:
        raise ValueError(
            f"{shown(text)} are no hours: write 22:00-07:00, with two digits each, up to 24:00"
        )
    return text


def timezone(value: Any) -> str:
    """Read the name of a time zone."""
    text = word(value)
    try:
        ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # Unknown; a folder of zones; no name at all.
        raise ValueError(f"{shown(text)} is no time zone: write Europe/Berlin, or UTC") from None
    return text
