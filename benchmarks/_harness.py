"""What every benchmark needs: figures with their limits, and the report that keeps them."""

import datetime
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

ROOT = Path(__file__).parents[1]


@attrs.frozen
class Figure:
    """One measured number.  Its name ends in its unit."""

    name: str
    value: float
    at_most: float | None = None
    """The promise, where there is one."""
    at_least: float | None = None
    """The same, for what should be large."""

    @property
    def kept(self) -> bool:
        too_large = self.at_most is not None and self.value > self.at_most
        too_small = self.at_least is not None and self.value < self.at_least
        return not too_large and not too_small

    def __str__(self) -> str:
        promise = "" if self.at_most is None else f"   at most {self.at_most:g}"
        promise += "" if self.at_least is None else f"   at least {self.at_least:g}"
        return f"{self.name:40} {self.value:12.4g}{promise}{'' if self.kept else '   BROKEN'}"


Benchmark: TypeAlias = Callable[[], Sequence[Figure]]


def machine() -> dict[str, str | int]:
    """Describe what the figures were measured on; without that they mean nothing."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _first_value("/proc/meminfo", "MemTotal") or "unknown",
    }


def _first_value(path: str, key: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def report(name: str, figures: Sequence[Figure]) -> str:
    """Return the figures as JSON, with date and machine."""
    content = {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "figures": {figure.name: round(figure.value, 4) for figure in figures},
    }
    return json.dumps(content, indent=2) + "\n"
