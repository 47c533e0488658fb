"""Decisions, as the API tells them, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from ._console import duration, size

Decision = Mapping[str, Any]

_DAY_S = 86_400.0
_ENDS = {
    "admit": "waited {waited} for {service}, and was admitted",
    "refuse": "waited {waited} for {service}, and was refused ({reason})",
    "leave": "waited {waited} for {service}, and its client left",
}


def timeline(decisions: Sequence[Decision], now: float, zone: tzinfo | None = None) -> list[str]:
    """Return what was decided in the order of time, each with who was in the way.

    Args:
        decisions: the oldest first.
        now: the Unix time.
        zone: of the clock times; None: the machine's own.
    """
    lines = []
    for one in decisions:
        ago = duration(max(0.0, now - one["at"]))
        who = "" if one["ticket"] is None else f" {_who(one)}:"
        first, *rest = one["why"].split("; ")
        lines.append(f"{_clock(one['at'], now, zone)} ({ago} ago){who} {first}")
        lines += (f"    {part}" for part in rest)
        lines += (f"    {_candidate(each, one['policy'])}" for each in one["candidates"] or ())
    return lines


def relevant(every: Sequence[Decision], own: Sequence[Decision]) -> list[Decision]:
    """Return what was decided while a request waited, about it and about those in its way.

    Args:
        every: all that is known.
        own: what is about the request itself, perhaps by several tickets: ids may come again.
    """
    told: dict[int, Decision] = {one["number"]: one for one in own}
    for ticket in dict.fromkeys(one["ticket"] for one in own):
        mine = [one for one in own if one["ticket"] == ticket]
        since, until = mine[0]["at"], mine[-1]["at"]
        if mine[-1]["kind"] == "wait":
            until = float("inf")
        meanwhile = [one for one in every if since <= one["at"] <= until and one["ticket"] is None]
        services = {one["service"] for one in mine}
        services |= {
            candidate["service"]
            for one in (*mine, *meanwhile)
            if one["service"] in services
            for candidate in one["candidates"] or ()
            if candidate["fate"] in ("leaves", "sleeps", "leaving", "serves", "loads")
        }
        told |= {one["number"]: one for one in meanwhile if one["service"] in services}
    return [told[number] for number in sorted(told)]


def summary(own: Sequence[Decision], now: float) -> Iterator[str]:
    """Yield a sentence for each ticket of a request: how long it waited, and how that ended."""
    for ticket in dict.fromkeys(one["ticket"] for one in own):
        last = [one for one in own if one["ticket"] == ticket][-1]
        if last["kind"] == "wait":
            end = f"has waited {duration(now - last['at'])} for {last['service']}, and waits"
        else:
            waited = f"{last['waited_s']:.1f} s"
            end = _ENDS[last["kind"]].format(
                waited=waited, service=last["service"], reason=last["reason"]
            )
        yield (
            f"{_who(last)} {end}".capitalize()
            if last["request"] is None
            else (f"Request {last['request']} {end}")
        )


def _who(decision: Decision) -> str:
    if decision["request"] is None:
        return f"ticket {decision['ticket']}"
    return f"request {decision['request']}"


def _candidate(one: Mapping[str, Any], policy: str) -> str:
    held = ", ".join(f"{size(amount)} on {device}" for device, amount in one["claim"].items())
    details = [f"holds {held}"]
    if one["value"] is not None:
        details.insert(0, f"worth {one['value']:.3g} by {policy}")
    if one["run"] is not None:
        details.append(f"loads in {one['load_s']:.3g} s")
        details.append(f"{one['requests']:.2g} requests of late")
        if one["idle_s"]:
            details.append(f"idle for {duration(one['idle_s'])}")
    return f"{one['why']} ({', '.join(details)})"


def _clock(at: float, now: float, zone: tzinfo | None) -> str:
    """Write a time of day, with its date where it may be another day's."""
    form = "%H:%M:%S" if abs(now - at) < _DAY_S / 2 else "%Y-%m-%d %H:%M:%S"
    return datetime.fromtimestamp(at, zone).strftime(form)
