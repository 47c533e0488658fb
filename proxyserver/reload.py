"""Reads the configuration again while the daemon serves, and puts it into force if it is good.

One task does so, whoever asks: reloads never overlap, and those who ask while one is on its way
share the next, so that a storm of them is two.  A configuration that cannot be used changes
nothing but what is told here: the one in force stays, until a good one is read.  Where only the
world is not yet as it wants it (an image is missing), it is tried again now and then: nobody who
has fetched the image should have to say so.
"""

import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import trio
from loguru import logger

from .in_force import Replacer
from .settings import NEEDS_KEYS, Changes, Problem, Settings, SettingsError, Sources, kept

PROBLEMS_LOGGED = 20
AGAIN_S = 10.0

Load: TypeAlias = Callable[[str | None], Settings]
"""Reads the configuration, in a thread; given a text, as if the file said that.

Raises:
    SettingsError: it cannot be used.
"""
Check: TypeAlias = Callable[[Settings], Awaitable[None]]
"""Looks at what is outside of it.

Raises:
    SettingsError: it cannot be used.
"""


@attrs.frozen
class Outcome:
    """What became of one reload."""

    changes: Changes = attrs.field(factory=Changes)
    problems: tuple[Problem, ...] = ()
    """Why nothing was changed; (): it was good."""
    are_outside: bool = False
    """The problems are not what the files say, but that the world is not (yet) so."""

    @property
    def word(self) -> str:
        if self.problems:
            return "refused"
        return "changed" if self.changes.is_felt else "unchanged"

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        problems = [attrs.asdict(problem) for problem in self.problems]
        return {"outcome": self.word, **self.changes.as_json(), "problems": problems}


@attrs.define(eq=False)
class _Asked:
    """A reload that has not begun, for all who asked."""

    why: str
    done: trio.Event = attrs.field(factory=trio.Event)
    outcome: Outcome = attrs.field(factory=Outcome)


@attrs.define(eq=False)
class Reloader:
    """Owns the way from the files to the settings in force.

    Args:
        load: reads the configuration.
        check: looks at what is new in it.
        replacer: puts settings into force.
        again_s: how often is looked whether the world is by now as a configuration wants it that
            was refused for that.
    """

    _load: Load
    _check: Check
    _replacer: Replacer
    _again_s: float = AGAIN_S
    problems: tuple[Problem, ...] = attrs.field(default=(), init=False)
    """What is wrong with what the files say now, so that it is not in force."""
    sources: Sources = attrs.field(factory=Sources, init=False)
    """What was read last, good or not, and how it was then."""
    _lacks: tuple[Problem, ...] = attrs.field(default=(), init=False)
    """The same, where they are outside."""
    needs_restart: tuple[str, ...] = attrs.field(default=(), init=False)
    """Keys of the server that the files say otherwise than the daemon runs."""
    _loaded_at: float = attrs.field(factory=time.time, init=False)
    _next: _Asked | None = attrs.field(default=None, init=False)
    _somebody: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.sources = self._replacer.settings.sources

    @property
    def folders(self) -> tuple[Path, ...]:
        """The model folders of the configuration in force."""
        return self._replacer.settings.folders

    async def run(self) -> None:
        """Reload whenever somebody asks for it, until cancelled."""
        while True:
            with trio.move_on_after(self._again_s if self._lacks else math.inf):
                await self._somebody.wait()
            if not self._somebody.is_set():
                # Files that have changed meanwhile are the business of who watches them.
                if {*(await self.diff()).problems} < {*self._lacks}:
                    self.reload_nowait("what was missing is there")
                continue
            asked, self._next = self._next, None
            self._somebody = trio.Event()
            assert asked is not None, "somebody asked"
            asked.outcome = await self._reload(asked.why)
            asked.done.set()

    def reload_nowait(self, why: str) -> _Asked:
        """Have it read again soon; the outcome is told in the log."""
        if self._next is None:
            self._next = _Asked(why)
            self._somebody.set()
        return self._next

    async def reload(self, why: str) -> Outcome:
        """Read it again, and return what became of that; it goes on when the caller is gone."""
        asked = self.reload_nowait(why)
        await asked.done.wait()
        return asked.outcome

    async def diff(self, text: str | None = None) -> Outcome:
        """Tell what a reload would do now, or if the file said this; nothing changes."""
        settings = await self._good(text)
        if isinstance(settings, Outcome):
            return settings
        return Outcome(Changes.of(self._replacer.settings, settings))

    def as_json(self) -> dict[str, Any]:
        """Tell where the configuration in force came from, and what of the files is not in it."""
        return {
            "path": str(self._replacer.settings.path.absolute()),
            "loaded_at": self._loaded_at,
            "problems": [attrs.asdict(problem) for problem in self.problems],
            "needs_restart": list(self.needs_restart),
            "schedules": [str(schedule) for schedule in self._replacer.schedules],
        }

    async def _reload(self, why: str) -> Outcome:
        remarks = {remark.message for remark in self._replacer.settings.remarks}
        settings = await self._good(None, keep=True)
        if isinstance(settings, Outcome):
            self.problems = settings.problems
            self._lacks = settings.problems if settings.are_outside else ()
            _log_refused(why, settings.problems)
            if self._lacks:
                logger.info("configuration: looked at again every {:g} s", self._again_s)
            return settings
        changes = await self._replacer.replace(settings)
        self.problems, self._lacks, self.needs_restart = (), (), changes.needs_restart
        self._loaded_at = time.time()
        outcome = Outcome(changes)
        logger.info("configuration read again ({}): {}", why, outcome.word)
        if changes.needs_restart:
            keys = ", ".join(f"server.{key}" for key in changes.needs_restart)
            logger.warning("configuration: {}: needs a restart of the daemon", keys)
        for remark in settings.remarks:
            if remark.message not in remarks:
                logger.info("{}", remark)
        return outcome

    async def _good(self, text: str | None, *, keep: bool = False) -> Settings | Outcome:
        """Read the configuration; what is wrong with it is the outcome.

        With `keep`, this is what was read last.
        """
        try:
            settings = await trio.to_thread.run_sync(self._load, text)
            if keep:
                self.sources = settings.sources
            running = self._replacer.settings
            if kept(running.server, settings.server).needs_keys:
                # The host stays as it is, so it does not help that another is written.
                raise SettingsError([settings.problem(("server", "keys"), NEEDS_KEYS)])
            changes = Changes.of(running, settings)
            new = {*changes.added, *changes.restarts}
            fresh = {name: one for name, one in settings.services.items() if name in new}
            if lacks := await self._lacking(attrs.evolve(settings, services=fresh)):
                return Outcome(problems=lacks, are_outside=True)
        except SettingsError as error:
            if keep and error.sources.files:
                self.sources = error.sources
            return Outcome(problems=error.problems)
        except Exception as bug:
            # Whatever a file can do to us, those who are served live on.
            logger.opt(exception=True).error("a bug of the proxy, met by the configuration")
            if keep:
                self.sources = self.sources.again()  # Once is enough.
            path = str(self._replacer.settings.path)
            return Outcome(problems=(Problem(path, 1, 1, "", f"a bug of the proxy: {bug!r}"),))
        return settings

    async def _lacking(self, settings: Settings) -> tuple[Problem, ...]:
        try:
            await self._check(settings)
        except SettingsError as error:
            return error.problems
        return ()


def _log_refused(why: str, problems: tuple[Problem, ...]) -> None:
    told = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    logger.error("configuration refused ({}), the one in force stays: {}", why, told)
    for problem in problems[:PROBLEMS_LOGGED]:
        logger.error("{}", problem)
