"""What the kernel says about processes, in /proc (proc(5)).

A process is named by its number and its start time: numbers are given anew, the pair is not.
"""

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import trio

_PROC = Path("/proc")
# Whoever listens on one of these may get what we send to 127.0.0.1, also by way of IPv6.
_MAPPED = bytes(10) + b"\xff\xff"
_REACHED_BY_LOOPBACK = frozenset((bytes([127, 0, 0, 1]), bytes(4), bytes(16)))

# <linux/netlink.h>, <linux/sock_diag.h>, <netinet/tcp.h>
_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST_ALL = 0x301
_ERROR, _DONE = 2, 3
_LISTEN = 10


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
    processor_ticks: int
    """What it, and those of its children that it has waited for, took of the processors."""


def read_stat(pid: int) -> ProcessStat | None:
    """Return what the kernel says about a process; None if there is none."""
    try:
        # Plainly: a stop looks at all processes twice, which by `pathlib` takes twice as long.
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, which may itself have brackets.
    fields = text.rpartition(b")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    ids = int(fields[2]), int(fields[3])
    return ProcessStat(pid, fields[0] in b"ZX", *ids, int(fields[19]), ticks)


def all_stats() -> Iterator[ProcessStat]:
    """Yield every process that we can see."""
    for name in os.listdir(_PROC):  # noqa: PTH208
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            yield stat


def environment_has(pid: int, entry: str) -> bool:
    """Tell whether the process was started with this `NAME=value`."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # Gone, or not ours to read: then it is none of ours.
        return False
    return os.fsencode(entry) in environment.split(b"\0")


def processor_s_of(pids: Iterable[int]) -> float:
    """Return the processor time in seconds that the processes have taken together."""
    ticks = sum(stat.processor_ticks for pid in pids if (stat := read_stat(pid)) is not None)
    return ticks / os.sysconf("SC_CLK_TCK")


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
    try:
        return frozenset(inode for address, inode in _ask_kernel(port) if _reached(address))
    except OSError:  # The kernel, or a sandbox, has no sock_diag(7).
        return frozenset(inode for address, inode in _read_tables(port) if _reached(address))


def _reached(address: bytes) -> bool:
    return address.removeprefix(_MAPPED) in _REACHED_BY_LOOPBACK


def _ask_kernel(port: int) -> Iterator[tuple[bytes, int]]:
    """Yield address and inode of each listener, by sock_diag(7): only these are looked at.

    The tables of /proc/net hold every connection and take 4 ms each even when they are short,
    which is long between a server's being ready and its first request.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        for family in (socket.AF_INET, socket.AF_INET6):
            wanted = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
            wanted += struct.pack(">H46x", port)
            head = struct.pack("=IHHII", 16 + len(wanted), _BY_FAMILY, _REQUEST_ALL, 0, 0)
            netlink.send(head + wanted)
            yield from _answers(netlink, port)


def _answers(netlink: socket.socket, port: int) -> Iterator[tuple[bytes, int]]:
    while True:
        data = netlink.recv(64 * 1024)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            message, data = data[16:length], data[(length + 3) & ~3 :]
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", message)[0], "sock_diag")
            size = 4 if message[0] == socket.AF_INET else 16
            if struct.unpack_from(">H", message, 4) == (port,):
                yield message[8 : 8 + size], struct.unpack_from("=I", message, 68)[0]


def _read_tables(port: int) -> Iterator[tuple[bytes, int]]:
    """Yield the same from /proc/net, which is slower but always there."""
    for table in ("net/tcp", "net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in (_PROC / table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, hex_port = fields[1].partition(":")
                if int(fields[3], 16) == _LISTEN and int(hex_port, 16) == port:
                    # Words of four bytes, each in the byte order of the machine.
                    words = re.findall(".{8}", address)
                    raw = b"".join(struct.pack("=I", int(word, 16)) for word in words)
                    yield raw, int(fields[9])


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
