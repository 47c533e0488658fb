"""How much main memory there is for us: the machine's, or less where a cgroup limits it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def ram_total(root: Path = Path("/")) -> int:
    """Return the main memory in bytes that this process and its children may use together.

    Args:
        root: where `proc` and `sys` are; only tests have it elsewhere.
    """
    meminfo = (root / "proc/meminfo").read_text()
    # "MemTotal:       16316412 kB" is the first line on every kernel since 2.6.
    total = int(meminfo.partition("MemTotal:")[2].split(maxsplit=1)[0]) * 1024
    return min([total, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of our memory cgroup and of all above it; version 1 or 2."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # Seen from a container, folders of the path may not be there: those have no say.
        inner = PurePosixPath(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            try:
                limit = (mount / folder / name).read_text().strip()
            except OSError:
                continue
            # "max", or in version 1 a number near 2**63, is no limit.
            if limit.isdecimal():
                yield int(limit)
