"""What commands print: tables for people, colours only on a terminal."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"ready": "green", "failed": "red", "backoff": "red", "down": "dim"}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def is_rich(stream: TextIO) -> bool:
    """Tell whether colours and moving bars are welcome there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def size(amount: float) -> str:
    """Write bytes as people read them: `1.5 GiB`."""
    units = iter(_UNITS)
    unit = next(units)
    while amount >= 1024:
        amount, unit = amount / 1024, next(units)
    return f"{amount:.0f} {unit}" if amount >= 100 or amount % 1 == 0 else f"{amount:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Write a duration in its two largest units: `1h 05m`."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def service_rows(services: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the table of `status`: its head, then a row a service."""
    rows: list[tuple[str, ...]] = [
        ("SERVICE", "STATE", "RUN", "MEMORY", "INFLIGHT", "WAITING", "IDLE-IN", "FOR", "WHY")
    ]
    for one in services:
        memory = " ".join(
            f"{device}:{size(held)}"
            for device, held in one["placement"].items()
            if ":" not in device
        )
        state, why = _state_and_why(one)
        rows.append(
            (
                one["id"],
                state,
                "-" if one["run"] is None else str(one["run"]),
                memory or "-",
                str(one["in_flight"]),
                str(one["waiting"]),
                duration(one["idle_in_s"]),
                duration(one["for_s"]),
                " ".join(why.split()),
            )
        )
    return rows


def _state_and_why(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state of a service, how far it is, and why; a pull of its image is its state."""
    pull = one["pull"]
    if pull is not None and one["run"] is None:
        if pull["state"] == "pulling":
            percent = "" if pull["percent"] is None else f" {pull['percent']:.0f}%"
            known = f": {size(pull['done'])} of {size(pull['total'])}" if pull["total"] else ""
            return f"pulling{percent}", f"{pull['image']}: {pull['status']}{known}"
        if one["state"] == "down":
            return "down", pull["cause"]["message"]
    why = one["cause"]["message"] if one["cause"] else one["why"]
    if one["retry_in_s"] is not None:
        why = f"{why} (again in {duration(one['retry_in_s'])})"
    if one["progress"] is not None:
        return f"{one['state']} {one['progress']:.0%}", why
    return one["state"], why


def device_rows(devices: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the table of devices: its head, then a row a device."""
    keys = ("capacity", "claimed", "reserved", "headroom", "free")
    return [
        ("DEVICE", *(key.upper() for key in keys), "USED", "HELD-BY"),
        *(
            (
                one["id"],
                *(str(one[key]) if one["unit"] == "models" else size(one[key]) for key in keys),
                *_measured(one["measured"]),
            )
            for one in devices
        ),
    ]


def _measured(measured: Mapping[str, Any] | None) -> tuple[str, str]:
    """Write what is really in use, and by whom; an old figure says how old it is."""
    if measured is None:
        return "-", "-"
    foreign = measured["foreign"]
    holders = [f"{service}:{size(held)}" for service, held in measured["services"].items()]
    holders.append(f"foreign:{'?' if foreign is None else size(foreign)}")
    age = f" ({duration(measured['age_s'])} old)" if measured["stale"] else ""
    return f"{size(measured['used'])}{age}", " ".join(holders)


def problem(one: Mapping[str, Any]) -> str:
    """Write what is wrong with a configuration as compilers do, so that editors find the place."""
    path = f"{one['path']}: " if one["path"] else ""
    return f"{one['file']}:{one['line']}:{one['column']}: {path}{one['message']}"


def troubles(health: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for everything besides services that is not as usual, or does not work."""
    configuration = health["configuration"]
    if problems := configuration["problems"]:
        said = "the configuration was refused, and the one before it is in force:"
        yield "\n".join((said, *map(problem, problems)))
    if keys := configuration["needs_restart"]:
        yield f"needs a restart of the daemon: {', '.join(f'server.{key}' for key in keys)}"
    if schedules := configuration["schedules"]:
        yield f"schedules in force: {'; '.join(schedules)}"
    for name, runtime in health["runtimes"].items():
        if not runtime["ok"]:
            yield f"{name} cannot be reached: {runtime['message']}"
    for name, gauge in health["gauges"].items():
        if not gauge["ok"]:
            yield f"{name} is not measured: {gauge['message']}"


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, the first being the head; the columns of plain text are two spaces apart."""
    if is_rich(sys.stdout):
        from rich.console import Console

        Console().print(table(rows))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def table(rows: Sequence[tuple[str, ...]]) -> "Table":
    """Return rows as a table with colours, the first being its head."""
    from rich.table import Table
    from rich.text import Text

    result = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
    for row in rows[1:]:
        result.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return result
