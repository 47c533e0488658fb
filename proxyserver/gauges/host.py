"""Main memory: how much there is for us, how much is free, and what a control group uses.

A control group (cgroups(7)) that limits us makes the machine smaller; both versions are known.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import attrs
import trio

from proxycore import RAM, RunId

from ._protocol import Measurement

ROOT = Path("/")
FAST_S = 1.0
"""What runs use is asked of the kernel page by page, and of the engine."""

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")

MemoryByRun = Callable[[], Awaitable[Mapping[RunId, int | None]]]
"""Tells what every living run uses; None: that cannot be had."""


class HostGauge:
    """Measures the device `ram`.

    Args:
        memory_by_run: tells what our runs use.
        root: where `proc` and `sys` are; only tests have it elsewhere.
    """

    name = "ram"
    fast_s = FAST_S
    message = "main memory by the kernel's account"

    def __init__(self, memory_by_run: MemoryByRun, root: Path = ROOT) -> None:
        self._memory_by_run = memory_by_run
        self._root = root

    async def measure(self) -> Sequence[Measurement]:
        at = trio.current_time()
        total, free = ram_total(self._root), ram_available(self._root)
        by_run = await self._memory_by_run()
        known = {run: amount for run, amount in by_run.items() if amount is not None}
        return [Measurement(RAM, total, min(free, total), known, at, len(known) == len(by_run))]


def ram_total(root: Path = ROOT) -> int:
    """Return the main memory in bytes that this process and its children may use together."""
    limits = [limit for group in _own_groups(root) if (limit := group.limit) is not None]
    return min([_meminfo(root, "MemTotal"), *limits])


def ram_available(root: Path = ROOT) -> int:
    """Return the main memory in bytes that could be had now, by dropping caches too."""
    rooms = [
        max(0, group.limit - used)
        for group in _own_groups(root)
        if group.limit is not None and (used := group.used) is not None
    ]
    return min([_meminfo(root, "MemAvailable"), *rooms])


def group_memory(pid: int, root: Path = ROOT) -> int | None:
    """Return the memory that the control group of a process uses, less its idle page cache.

    For a container, that is the whole container.  The engine's own `stats` says the same, but
    takes one to two seconds.
    """
    for mount, path, names in _memberships(root, str(pid)):
        if (used := _Group(mount / path, *names).used) is not None:
            return used
    return None


def group_processor_s(pid: int, root: Path = ROOT) -> float | None:
    """Return the processor time in seconds that the control group of a process has taken.

    https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/cpuacct.html
    """
    for mount, path, names in _memberships(root, str(pid), "cpuacct"):
        with suppress(OSError, ValueError, KeyError):
            if names is _V1:
                return int((mount / path / "cpuacct.usage").read_text()) / 1e9
            rows = (
                row.split(" ", 1) for row in (mount / path / "cpu.stat").read_text().splitlines()
            )
            return int(dict(rows)["usage_usec"]) / 1e6
    return None


def _meminfo(root: Path, name: str) -> int:
    # A line is a name, a colon, spaces, a number and "kB".
    text = (root / "proc/meminfo").read_text()
    return int(text.partition(f"{name}:")[2].split(maxsplit=1)[0]) * 1024


@attrs.frozen
class _Group:
    """The folder of a control group, and the names that its version has for things."""

    folder: Path
    limit_file: str
    used_file: str
    idle_row: str

    @property
    def limit(self) -> int | None:
        with suppress(OSError):
            limit = (self.folder / self.limit_file).read_text().strip()
            # "max", or in version 1 a number near 2**63, is no limit.
            if limit.isdecimal():
                return int(limit)
        return None

    @property
    def used(self) -> int | None:
        with suppress(OSError, ValueError, KeyError):
            used = int((self.folder / self.used_file).read_text())
            rows = (
                row.split(" ", 1) for row in (self.folder / "memory.stat").read_text().splitlines()
            )
            return max(0, used - int(dict(rows)[self.idle_row]))
        return None


def _own_groups(root: Path) -> Iterator[_Group]:
    """Yield our own group and all above it: each may have a limit."""
    for mount, path, names in _memberships(root, "self"):
        # Seen from a container, folders of the path may not be there: those have no say.
        for folder in (path, *path.parents):
            yield _Group(mount / folder, *names)


def _memberships(
    root: Path, process: str, controller: str = "memory"
) -> Iterator[tuple[Path, PurePosixPath, tuple[str, str, str]]]:
    """Yield where a process is in each hierarchy that may do the accounts of a kind."""
    try:
        lines = (root / "proc" / process / "cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inner = PurePosixPath(path.lstrip("/"))
        if controllers == "":
            yield mount, inner, _V2
        elif controller in controllers.split(","):
            yield mount / controller, inner, _V1
