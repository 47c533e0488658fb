"""What `status --watch` shows: a table that changes on a terminal, else a line for each change."""

import sys
import time
from collections.abc import Callable, Iterator
from json import dumps
from typing import TYPE_CHECKING, Any, NoReturn

from ._console import device_rows, is_rich, service_rows, table, troubles

if TYPE_CHECKING:
    from rich.console import Group

Health = dict[str, Any]


def watch(look: Callable[[], Health], *, every_s: float, json: bool) -> NoReturn:
    """Look again and again, until Ctrl-C.

    A daemon that is away at first is an error; one that goes away is waited for.

    Raises:
        DaemonUnreachable: it is not there to begin with.
    """
    health = look()
    if json:
        _as_documents(look, every_s, health)
    if is_rich(sys.stdout):
        _as_table(look, every_s, health)
    _as_lines(look, every_s, health)


def _looks(look: Callable[[], Health], every_s: float, first: Health) -> Iterator[Health | str]:
    """Yield what is seen, or why nothing is, for ever."""
    from .client import DaemonRefused, DaemonUnreachable

    yield first
    while True:
        time.sleep(every_s)
        try:
            seen: Health | str = look()
        except (DaemonUnreachable, DaemonRefused) as error:
            seen = str(error).splitlines()[0]
        yield seen


def _as_table(look: Callable[[], Health], every_s: float, first: Health) -> NoReturn:
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        last = first
        for seen in _looks(look, every_s, first):
            last = last if isinstance(seen, str) else seen
            live.update(_picture(last, seen if isinstance(seen, str) else ""), refresh=True)
    raise AssertionError("it looks for ever")


def _picture(health: Health, lost: str) -> "Group":
    from rich.console import Group
    from rich.text import Text

    head = f"aiproxy {health['version']}: {health['status']}, {time.strftime('%H:%M:%S')}"
    lines = [Text(line, style="red") for line in (*([lost] if lost else ()), *troubles(health))]
    return Group(
        Text(head, style="bold"),
        Text(),
        table(service_rows(health["services"])),
        Text(),
        table(device_rows(health["devices"])),
        *lines,
    )


def _as_lines(look: Callable[[], Health], every_s: float, first: Health) -> NoReturn:
    """Print a line for each service when something but the time has changed."""
    told: dict[str, tuple[str, ...]] = {}
    lost = ""
    for seen in _looks(look, every_s, first):
        now = time.strftime("%H:%M:%S")
        if isinstance(seen, str):
            if seen != lost:
                _say(f"{now}  {seen}")
            lost = seen
            continue
        lost = ""
        for row in service_rows(seen["services"])[1:]:
            name, state, run, memory, in_flight, waiting, _, _, why = row
            said = (state, f"run {run}", memory, f"{in_flight} in flight", f"{waiting} waiting")
            if told.get(name) != said:
                told[name] = said
                _say("  ".join(filter(None, (now, name, *said, why))))
    raise AssertionError("it looks for ever")


def _as_documents(look: Callable[[], Health], every_s: float, first: Health) -> NoReturn:
    """Print each look as one line of JSON."""
    for seen in _looks(look, every_s, first):
        _say(dumps({"lost": seen} if isinstance(seen, str) else seen, separators=(",", ":")))
    raise AssertionError("it looks for ever")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
