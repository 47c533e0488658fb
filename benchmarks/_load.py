"""The clients and the upstream of the data path: programs in C, each where it is put."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.rig.mock import build

from ._harness import ROOT

RIG = ROOT / "benchmarks" / "rig"
LOAD_S = 60.0
"""Far above what any single measurement takes."""


class LoadFailed(Exception):
    """Something that is measured does not work; the text says what."""


def pin(pids: Iterable[int], processor: int) -> None:
    """Put all threads of these processes on one processor."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {processor})


def family(pid: int) -> list[int]:
    """Return a process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


@attrs.frozen
class Load:
    """Measures by a program of ours; what it prints comes back as numbers."""

    program: Path
    processor: int

    def __call__(self, mode: str, port: int, **settings: object) -> Mapping[str, float]:
        """Run one measurement.

        Raises:
            LoadFailed: the answers were not what they should be.
        """
        told, _ = self.told(mode, port, **settings)
        return told

    def told(
        self, mode: str, port: int, **settings: object
    ) -> tuple[Mapping[str, float], Mapping[int, int]]:
        """Run one measurement; return the numbers, and when which stream was left."""
        with self.running(mode, port, **settings) as process:
            try:
                out, errors = process.communicate(timeout=LOAD_S)
            except subprocess.TimeoutExpired:
                raise LoadFailed(f"{mode} at port {port}: no end after {LOAD_S:g} s") from None
        if process.returncode != 0:
            raise LoadFailed(f"{mode} at port {port}: {errors.decode().strip()}")
        *lines, last = out.decode().splitlines()
        numbers: Mapping[str, float] = json.loads(last)
        return numbers, leavings(lines)

    @contextmanager
    def running(
        self, mode: str, port: int, **settings: object
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Let a measurement run as long as the block does."""
        words = [f"{name}={value}" for name, value in settings.items()]
        process = subprocess.Popen(
            [self.program, mode, f"port={port}", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            pin([process.pid], self.processor)
            try:
                yield process
            finally:
                process.kill()


def leavings(lines: Iterable[str]) -> Mapping[int, int]:
    """Return when (in nanoseconds) which stream was left, from lines `left ID AT`."""
    words = (line.split() for line in lines)
    return {int(number): int(at) for _, number, at in words}


@attrs.frozen
class Upstream:
    """The server behind the proxies."""

    port: int
    pid: int
    folder: Path

    def left(self) -> Mapping[int, int]:
        """Return when it saw which stream end whose client had left."""
        _, *lines = (self.folder / "upstream.out").read_text().splitlines()
        return leavings(lines)


@contextmanager
def upstream(program: Path, folder: Path, processor: int) -> Iterator[Upstream]:
    """Run the upstream on a processor."""
    with (folder / "upstream.out").open("wb") as out:
        process = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=out)
    with process:
        pin([process.pid], processor)
        try:
            while not (said := (folder / "upstream.out").read_text()).endswith("\n"):
                if process.poll() is not None:
                    raise LoadFailed("the upstream does not start")
            yield Upstream(int(said.split()[1]), process.pid, folder)
        finally:
            process.kill()


def build_programs(folder: Path) -> tuple[Path, Path]:
    """Compile the load generator and the upstream.

    Raises:
        CompilerMissing: there is no C compiler.
    """
    load, behind = (build(folder, RIG / name, []) for name in ("load.c", "upstream.c"))
    return load, behind
