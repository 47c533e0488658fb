"""What can be wrong with a configuration: problems and their places, gathered and told at once."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import attrs

from ._sources import Sources

Steps: TypeAlias = tuple[str | int, ...]
"""The way from the document's root to a value: keys of mappings, positions in lists."""


SECRET_MIN = 4
"""Shorter values of the environment are no secrets, and are found in any sentence."""


@attrs.frozen
class Mark:
    """A place in a file; both count from 1."""

    line: int = 1
    column: int = 1
    file: str = ""
    """Empty: the first file."""


@attrs.frozen
class Problem:
    """One thing to put right."""

    file: str
    line: int
    column: int
    path: str
    """The way to the value as people write it: `services.coder.memory.vram`."""
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return where + (f"{self.path}: {self.message}" if self.path else self.message)


class SettingsError(Exception):
    """The configuration cannot be used; all that is known to be wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        self.sources = Sources()
        """What was read until then."""
        super().__init__("\n".join(str(problem) for problem in self.problems))


@attrs.frozen
class Marks:
    """Where every value of the files stands, and where its key does."""

    file: str
    """The first file."""
    values: dict[Steps, Mark] = attrs.field(factory=dict, repr=False)
    keys: dict[Steps, Mark] = attrs.field(factory=dict, repr=False)
    filled: dict[Steps, dict[str, str]] = attrs.field(factory=dict, repr=False)
    """What the environment put into a value, each with the reference that asked for it."""

    origins: dict[Steps, Steps] = attrs.field(factory=dict, repr=False)
    """Where that is written which stands in the file once, and means several services."""

    def stand_in(self, target: Steps, source: Steps) -> None:
        """Let what is derived stand where its source was written, unless it was written too."""
        for marks in (self.values, self.keys):
            if source in marks:
                marks.setdefault(target, marks[source])
        if source in self.filled:
            self.hide(target, self.filled[source])

    def hide(self, steps: Steps, filled: Mapping[str, str]) -> None:
        """Do not tell these values of the environment where that place is spoken of."""
        self.filled.setdefault(steps, {}).update(filled)

    def problem(self, steps: Steps, message: str, *, at_key: bool = False) -> Problem:
        """Make a problem with the value at `steps`, or with the key that it is missing under.

        What came from the environment may be a secret: the message names its reference instead.
        """
        steps = (*self.origins.get(steps[:2], steps[:2]), *steps[2:])
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        mark = first.get(steps) or second.get(steps)
        around = steps[:-1]
        while mark is None and around:
            mark = self.keys.get(around) or self.values.get(around)
            around = around[:-1]
        mark = mark or Mark()
        for place, filled in self.filled.items():
            if place[: len(steps)] == steps or steps[: len(place)] == place:
                for value, reference in filled.items():
                    message = _hidden(message, value, reference)
        return Problem(mark.file or self.file, mark.line, mark.column, dotted(steps), message)


@attrs.define
class Problems:
    """The problems found so far: at most one for each path, since one mistake has many echoes."""

    marks: Marks
    _found: dict[tuple[str, str], Problem] = attrs.field(factory=dict, init=False)
    _files: list[str] = attrs.field(factory=list, init=False)
    """Those after the first, in the order in which they were read."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, steps: Steps, message: str, *, at_key: bool = False) -> None:
        problem = self.marks.problem(steps, message, at_key=at_key)
        self._found.setdefault((problem.file, problem.path), problem)

    def take(self, other: "Problems", which: Callable[[Steps], bool]) -> None:
        """Have the problems of another file, and know where those of its values are which we take.

        Args:
            other: those found in it.
            which: tells which values are taken.
        """
        marks, file = other.marks, other.marks.file
        self._found = {**other._found, **self._found}
        self._files += [file, *other._files]
        for into, those in ((self.marks.values, marks.values), (self.marks.keys, marks.keys)):
            for steps, mark in those.items():
                if which(steps):
                    into[steps] = attrs.evolve(mark, file=mark.file or file)
        for steps, filled in marks.filled.items():
            if which(steps):
                self.marks.hide(steps, filled)

    def check(self) -> None:
        """Do nothing when nothing was found.

        Raises:
            SettingsError: all that was found, in the order of the files.
        """
        if self._found:
            order = {file: number for number, file in enumerate((self.marks.file, *self._files))}
            found = self._found.values()
            raise SettingsError(sorted(found, key=lambda p: (order[p.file], p.line, p.column)))


def dotted(steps: Steps) -> str:
    """Write a path as people do: `services.coder.aliases[0]`."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _hidden(message: str, value: str, reference: str) -> str:
    """Replace a value, or what a shortened message shows of it, by its reference."""
    for form in (value, repr(value)[1:-1]):
        for length in range(min(len(form), len(message)), SECRET_MIN - 1, -1):
            if form[:length] in message:
                message = message.replace(form[:length], reference)
                break
    return message


def near(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or nothing when none is near."""
    found = difflib.get_close_matches(word[:64], known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
