"""What a server's log says of the memory that it holds asleep."""

import re
from collections.abc import Iterable, Sequence

GIB = 1 << 30


def held_asleep(pattern: str, lines: Iterable[str], claims: Sequence[int]) -> int | None:
    """Return how many bytes a sleeping run holds of each of its GPUs at most; None: no line says.

    Of each GPU there is a line, and of which one nobody knows: the largest counts.  Two figures
    bound what it holds: what is still used of the GPU, by others as well; and what the run may have
    held before, less what it freed.

    Args:
        pattern: see `LaunchSpec.asleep_line`.
        lines: of its log, up to now.
        claims: what it claims of each of its GPUs awake, in bytes.

    >>> line = "Sleep mode freed 15.50 GiB memory, 1.25 GiB memory is still in use."
    >>> held_asleep(r"freed (?P<freed>[0-9.]+) GiB memory, (?P<used>[0-9.]+)", [line], [16 << 30])
    536870912
    """
    most = max(claims, default=0)
    held = []
    for line in lines:
        if (match := re.search(pattern, line)) is not None:
            figures = match.groupdict()
            bounds = [_bytes(figures["used"])] if figures.get("used") else []
            if figures.get("freed") and (rest := most - _bytes(figures["freed"])) > 0:
                bounds.append(rest)
            if bounds:
                held.append(min(bounds))
    return max(held[-max(1, len(claims)) :], default=None)


def _bytes(gib: str) -> int:
    return round(float(gib) * GIB)
