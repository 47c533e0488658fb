"""Bodies that are held until it is known where they go: in memory, and what is too much, on disk.

A file is written and read in threads: a full page cache, or a slow disk, keeps a writer waiting for
as long as it likes, and everybody's tokens with it.  It has no name, so that whatever happens it
leaves nothing behind.
"""

import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import attrs
import trio

from proxyserver.wire import Edit, FormModel, JsonModel, edited

from ._exchange import Exchange
from ._ports import Settings
from .errors import ApiError, again

HELD_BODIES = 4
"""Bodies of the largest size that are held in memory at once, over all requests."""
WRITE_SIZE = 1024 * 1024
"""So much is written at a time."""
WRITING_MAX = 32 * 1024 * 1024
"""What may be on its way to the disk when memory is full already; then 503."""
READ_SIZE = 256 * 1024
THREADS = 2
"""They are the disk's, so that it keeps nobody from other threads."""


_Result = TypeVar("_Result")


@attrs.define(eq=False)
class Bodies:
    """How much is held, over all requests."""

    _settings: Settings
    """Those in force: they may be replaced."""
    memory: int = 0
    disk: int = 0
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(THREADS))

    @property
    def memory_max(self) -> int:
        """In memory, of each."""
        return self._settings.server.body_max

    @property
    def disk_max(self) -> int:
        """On disk, of each."""
        return self._settings.server.spill_max

    @property
    def disk_total(self) -> int:
        """On disk, of all."""
        return self._settings.server.spill_total

    @property
    def folder(self) -> Path:
        """For the files."""
        return self._settings.server.spill_dir

    @property
    def memory_total(self) -> int:
        return HELD_BODIES * self.memory_max

    async def in_thread(self, job: Callable[[], _Result]) -> _Result:
        """Do what the disk may keep waiting.

        Raises:
            ApiError: 507, it cannot.
        """
        try:
            return await trio.to_thread.run_sync(job, limiter=self.threads)
        except OSError as error:
            raise ApiError(
                507,
                "disk_full",
                f"the body is too large for the memory, and cannot be kept in {self.folder}:"
                f" {error.strerror or error}; make room there, or set server.spill_dir",
                headers=again(None),
            ) from error


@attrs.define(eq=False)
class Held:
    """The beginning of a body, or all of it; to be closed."""

    bodies: Bodies
    size: int = 0
    """How much was read."""
    grown: int = 0
    """By how much it has become longer than that."""
    scan: JsonModel | FormModel | None = None
    """Who looks at the rest."""
    _needs_all: bool = False
    """The rest counts as well: somebody wants to change it."""
    _pieces: list[bytes] = attrs.field(factory=list)
    """What is in memory; it follows what is in the file."""
    _memory: int = 0
    """Of it."""
    _disk: int = 0
    """What was promised to it."""
    _file: IO[bytes] | None = None
    _file_size: int = 0
    _edits: Sequence[Edit] = ()

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def add_nowait(self, piece: bytes) -> bool:
        """Hold more in memory; False: there is no room for it."""
        bodies, size = self.bodies, len(piece)
        most = bodies.memory_max
        if (
            self._file is not None
            or (self.size + size > most and not self._is_routed)
            or bodies.memory + size > HELD_BODIES * most
        ):
            return False
        self._take(piece)
        return True

    async def add(self, piece: bytes) -> None:
        """Hold more, on disk if need be.

        Raises:
            ApiError: that is too much, of this body or of all, or the disk cannot take it.
        """
        if self.add_nowait(piece):
            return
        bodies, size = self.bodies, len(piece)
        if self.size + size > max(bodies.memory_max, bodies.disk_max) and not self._is_routed:
            raise _too_large(bodies, needs_all=self._needs_all)
        more = self.size + size - self._disk
        if not bodies.disk_max or bodies.disk + more > bodies.disk_total:
            raise _busy("too many large bodies wait already")
        if bodies.memory + size > bodies.memory_total + WRITING_MAX:
            raise _busy("large bodies come faster than they can be written down")
        self._disk += more
        bodies.disk += more
        self._take(piece)
        if self._file is None:
            self._file = await bodies.in_thread(partial(_make_file, bodies.folder))
        few = self._memory < min(WRITE_SIZE, bodies.memory_max)
        if few and bodies.memory <= bodies.memory_total:
            return
        await bodies.in_thread(partial(_write_all, self._file.fileno(), self._pieces))
        self._pieces = []
        self._file_size += self._memory
        self._let_go()

    @property
    def _is_routed(self) -> bool:
        """Whether this is the last piece to be held: limits are not so exact as to refuse it."""
        return not self._needs_all and (self.scan is None or self.scan.found is not None)

    async def add_rest(self, exchange: Exchange) -> None:
        """Read the body to its end, and hold all of it.

        Raises:
            ApiError: it does not go on, or is too large.
            BadBody: it is not what it seemed to be.
        """
        self._needs_all = True
        while not exchange.body_read:
            piece = await exchange.read()
            if self.scan is not None:
                self.scan.feed(piece)
            await self.add(piece)
        if self.scan is not None:
            self.scan.finish()

    def _take(self, piece: bytes) -> None:
        size = len(piece)
        self.bodies.memory += size
        self._memory += size
        self.size += size
        self._pieces.append(piece)

    def _let_go(self) -> None:
        self.bodies.memory -= self._memory
        self._memory = 0

    def edit(self, edits: Sequence[Edit]) -> None:
        """Let other bytes take the place of some; in order, none across another."""
        self._edits = edits
        self.grown = sum(edit.growth for edit in edits)

    def joined(self) -> bytes:
        """Return all of it, where nothing is on disk."""
        assert self._file is None, "it is asked before"
        return self._edited(b"".join(self._pieces), 0)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield all of it, wherever it is; as often as somebody wants.

        Raises:
            ApiError: the disk does not give it back.
        """
        at = 0
        while at < self._file_size:
            assert self._file is not None, "it has a size"
            read = partial(os.pread, self._file.fileno(), READ_SIZE, at)
            piece = await self.bodies.in_thread(read)
            assert piece, "nobody else knows the file"
            yield self._edited(piece, at)
            at += len(piece)
        for piece in self._pieces:
            yield self._edited(piece, at)
            at += len(piece)

    def _edited(self, piece: bytes, at: int) -> bytes:
        """Return what stands for the piece that begins at this place."""
        return edited(piece, at, self._edits) if self._edits else piece

    def close(self) -> None:
        """Let go of all, once and for ever."""
        self._let_go()
        self._pieces = []
        self.bodies.disk -= self._disk
        self._disk = 0
        if self._file is not None:
            # To give back a gigabyte takes the kernel a while, and nobody waits for it.
            trio.lowlevel.start_thread_soon(self._file.close, lambda _: None)
            self._file = None


def _make_file(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _write_all(file: int, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(file, rest) :]


def _too_large(bodies: Bodies, *, needs_all: bool) -> ApiError:
    disk = bodies.disk_max > bodies.memory_max
    most, key = (bodies.disk_max, "spill_max") if disk else (bodies.memory_max, "body_max")
    limit = f"{most} bytes (server.{key})"
    message = (
        f"the body is to be changed (`requests:` of the service), and has more than {limit}"
        if needs_all
        else f"no `model` in the first {limit} of the body;"
        " write it first, or send to /service/{id}/..., where bodies have no limit"
    )
    return ApiError(413, "request_too_large", message)


def _busy(why: str) -> ApiError:
    return ApiError(503, "server_busy", f"{why}; try again soon", headers=again(1.0))
