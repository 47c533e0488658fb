"""Follows the model folders of a configuration: what comes and goes there does so in the proxy.

Folders are looked at every few seconds instead of waiting for the kernel to tell: that works on
network file systems and in containers as well, and a file that still grows tells itself by that.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import attrs
import trio
from loguru import logger

from .gguf import gguf_files
from .in_force import NeedsRestart, Replacer
from .settings import Settings, SettingsError

LOOK_S = 2.0
"""A file that is the same at two looks is at rest: so long, at least, until it is offered."""

_Look: TypeAlias = dict[Path, tuple[int, int]]
"""The size and the time of change of each file."""


@attrs.define(eq=False)
class Reloader:
    """Reads the configuration again when a model folder has changed, and puts it into force.

    Args:
        settings: those in force.
        load: reads the configuration.
        replacer: puts other settings into force.
    """

    _settings: Settings
    _load: Callable[[], Settings]
    _replacer: Replacer

    async def run(self) -> None:
        """Follow the folders until cancelled."""
        before, applied = await _look(self._settings.folders), _Look()
        while True:
            await trio.sleep(LOOK_S)
            now = await _look(self._settings.folders)
            moving = {file for file in now if file in before and before[file] != now[file]}
            moving |= now.keys() - before.keys()
            at_rest = {file: it for file, it in now.items() if file not in moving}
            before = now
            # Those that move were not there, as far as anybody else is concerned.
            known = {file: it for file, it in applied.items() if file not in moving}
            if at_rest != known:
                applied = at_rest
                await self._read_again()

    async def _read_again(self) -> None:
        """Put what is there now into force; where that cannot be, all stays as it was."""
        try:
            settings = await trio.to_thread.run_sync(self._load)
        except SettingsError as error:
            logger.error("a model folder has changed, yet all stays as it was: {}", error)
            return
        try:
            await self._replacer.replace(settings)
        except NeedsRestart as error:
            logger.error("a model folder has changed, yet all stays as it was: {}", error)
            return
        told = {remark.message for remark in self._settings.remarks}
        for remark in settings.remarks:
            if remark.message not in told:
                logger.info("{}", remark)
        self._settings = settings


async def _look(folders: Iterable[Path]) -> _Look:
    return await trio.to_thread.run_sync(_look_now, tuple(folders))


def _look_now(folders: Iterable[Path]) -> _Look:
    seen: _Look = {}
    for folder in folders:
        for file in gguf_files(folder):
            try:
                found = file.stat()
            except OSError:
                continue  # It went just now.
            seen[file] = (found.st_size, found.st_mtime_ns)
    return seen
