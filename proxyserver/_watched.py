"""Notices that the files of the configuration have changed, or the models in its folders.

They are looked at now and then instead of waiting for the kernel to tell: that works on network
file systems and in containers as well, through links that are turned and files that are renamed
into place, and what still changes tells itself by that.  A look at a file is a system call of a few
microseconds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeAlias

import trio

from .gguf import gguf_files
from .reload import Outcome, Reloader
from .settings import Look, Sources

LOOK_S = 0.5
"""A file of the configuration that is the same at two looks is at rest, and is read."""
PATIENCE_S = 2.0
"""One that cannot be used may be half of what is being written: so long it must be at rest until
that is told."""
FOLDER_S = 2.0
"""The same for models: so long, at least, until one is offered."""
_Models: TypeAlias = dict[Path, tuple[int, int]]
"""The size and the time of change of each file."""


class Reads(Protocol):
    """Who reads the configuration again; a `Reloader`."""

    @property
    def sources(self) -> Sources: ...
    async def diff(self, text: str | None = None) -> Outcome: ...
    async def reload(self, why: str) -> Outcome: ...


async def watch_files(
    reader: Reads, *, look_s: float = LOOK_S, patience_s: float = PATIENCE_S
) -> None:
    """Reload whenever a file of the configuration is another than it was read, until cancelled."""
    while True:
        await trio.sleep(look_s)
        sources = reader.sources
        now = await trio.to_thread.run_sync(sources.now)
        if now == sources.then():
            continue
        if not await _rests(sources, now, look_s):
            continue
        if (await reader.diff()).problems and not await _rests(sources, now, patience_s):
            continue
        if reader.sources is sources:  # Else it has been read since.
            await reader.reload("its files have changed")


async def _rests(sources: Sources, before: Look, for_s: float) -> bool:
    await trio.sleep(for_s)
    return await trio.to_thread.run_sync(sources.now) == before


async def watch_folders(reloader: Reloader) -> None:
    """Reload whenever a model has come into a folder, or gone from it, until cancelled."""
    before, applied = await _models(reloader.folders), _Models()
    while True:
        await trio.sleep(FOLDER_S)
        now = await _models(reloader.folders)
        moving = {file for file in now if file in before and before[file] != now[file]}
        moving |= now.keys() - before.keys()
        at_rest = {file: it for file, it in now.items() if file not in moving}
        before = now
        # Those that move were not there, as far as anybody else is concerned.
        known = {file: it for file, it in applied.items() if file not in moving}
        if at_rest != known:
            applied = at_rest
            await reloader.reload("a model folder has changed")


async def _models(folders: Iterable[Path]) -> _Models:
    return await trio.to_thread.run_sync(_models_now, tuple(folders))


def _models_now(folders: Iterable[Path]) -> _Models:
    seen: _Models = {}
    for folder in folders:
        for file in gguf_files(folder):
            try:
                found = file.stat()
            except OSError:
                continue  # It went just now.
            seen[file] = (found.st_size, found.st_mtime_ns)
    return seen
