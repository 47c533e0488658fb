"""What the kernel says about processes, in /proc (proc(5)).

A process is named by its number and its start time: numbers are given anew, the pair is not.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import trio

_PROC = Path("/proc")
_LISTENING = b"0A"
# 127.0.0.1, 0.0.0.0, [::] and the two as mapped addresses, in the byte order of the kernel:
# whoever listens on one of these may get what we send to 127.0.0.1.
_REACHED_BY_LOOPBACK = frozenset(
    (
        b"0100007F",
        b"00000000",
        b"0" * 32,
        b"0000000000000000FFFF00000100007F",
        b"0000000000000000FFFF000000000000",
    )
)


@attrs.frozen
class ProcessStat:
    """The parts of /proc/PID/stat that we need."""

    pid: int
    dead: bool
    """A zombie: it has ended, but its number is kept until its parent asks how."""
    group: int
    session: int
    start_ticks: int
    """Clock ticks from boot to its start."""


def read_stat(pid: int) -> ProcessStat | None:
    """Return what the kernel says about a process; None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, which may itself have brackets.
    fields = text.rpartition(b")")[2].split()
    return ProcessStat(pid, fields[0] in b"ZX", int(fields[2]), int(fields[3]), int(fields[19]))


def all_stats() -> Iterator[ProcessStat]:
    """Yield every process that we can see."""
    for path in _PROC.glob("[0-9]*"):
        if (stat := read_stat(int(path.name))) is not None:
            yield stat


def environment_has(pid: int, entry: str) -> bool:
    """Tell whether the process was started with this `NAME=value`."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # Gone, or not ours to read: then it is none of ours.
        return False
    return os.fsencode(entry) in environment.split(b"\0")


def memory_of(pids: Iterable[int]) -> int | None:
    """Return the RAM that the processes use together; None if none of them can be read.

    The proportional share (PSS) counts memory that they have in common once; where the kernel
    does not tell it, resident memory (RSS) has to do.
    """
    known = [amount for pid in pids if (amount := _memory_of_one(pid)) is not None]
    return sum(known) if known else None


def _memory_of_one(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError):
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def listeners_on(port: int) -> frozenset[int]:
    """Return the socket inodes that listen where a connection to 127.0.0.1:`port` may end."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / table).read_bytes().splitlines()[1:]:
                fields = line.split()
                address, _, hex_port = fields[1].partition(b":")
                if (
                    fields[3] == _LISTENING
                    and int(hex_port, 16) == port
                    and address in _REACHED_BY_LOOPBACK
                ):
                    inodes.add(int(fields[9]))
    return frozenset(inodes)


def socket_inodes(pids: Iterable[int]) -> frozenset[int]:
    """Return the inodes of all sockets that the processes hold open."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    kind, _, rest = str(descriptor.readlink()).partition(":[")
                    if kind == "socket":
                        inodes.add(int(rest.rstrip("]")))
    return frozenset(inodes)


async def wait_exit(pid: int, start_ticks: int) -> None:
    """Wait until the process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        await trio.lowlevel.checkpoint()
        return
    try:
        # Looked at after opening: from here on, the descriptor means what we looked at.
        stat = read_stat(pid)
        if stat is None or stat.start_ticks != start_ticks:
            await trio.lowlevel.checkpoint()
            return
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
