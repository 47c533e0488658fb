"""The journal: every `(now, event)` as a line, so that a bug report replays to the same decisions.

A journal is a sequence of lines.  The first is a head, with the configuration and all that the core
remembered; each of the others is one event.  A head may come again (the shell rotates files, and
each begins with one): the replay then goes on from there, so every file replays by itself.
"""

import enum
import json
import types
from collections.abc import Iterable, Iterator
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from . import events as ev
from ._books import Books
from ._core import Core
from ._errors import LocalError
from .config import CoreConfig
from .effects import Effect
from .policy import EvictionPolicy

VERSION = 1

_EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(ev.Event)}


class JournalError(LocalError):
    """A line that is no part of a journal, or that the core refuses."""


@attrs.frozen
class Replayed:
    """One event of a journal, and what the core does about it now."""

    line: int
    """Counted from 1."""
    now: float
    event: ev.Event
    effects: tuple[Effect, ...]


def head(core: Core) -> str:
    """Return the line from which a replay can begin: all that the core knows now."""
    return _line({"journal": VERSION, "config": _plain(core.config), "books": _plain(core.books)})


def entry(now: float, event: ev.Event) -> str:
    """Return the line of one event."""
    return _line({"now": now, type(event).__name__: _plain(event)})


def replay(lines: Iterable[str], policy: EvictionPolicy | None = None) -> Iterator[Replayed]:
    """Yield every event of a journal with the effects that the core has for it.

    A last line without its line feed was torn by a crash, and is left out.

    Raises:
        JournalError: a line is broken, or cannot be; says which and why.
    """
    core: Core | None = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            return
        try:
            entries = json.loads(line)
            if not isinstance(entries, dict):
                raise TypeError("not an object")
            if "journal" in entries:
                core = _resume(entries, policy)
                continue
            if core is None:
                raise KeyError("the first line is no head")
            now, event = _event(entries)
            yield Replayed(number, now, event, core.handle(event, now))
        except (ValueError, TypeError, KeyError, LocalError) as error:
            raise JournalError(f"line {number}: {error}") from error


def _resume(entries: dict[str, Any], policy: EvictionPolicy | None) -> Core:
    if entries["journal"] != VERSION:
        raise ValueError(f"journal version {entries['journal']!r}, not {VERSION}")
    books: Books = _made(Books, entries["books"])
    return Core.resume(_made(CoreConfig, entries["config"]), books, policy=policy)


def _event(entries: dict[str, Any]) -> tuple[float, ev.Event]:
    now = _made(float, entries.pop("now"))
    [(name, fields)] = entries.items()
    return now, _made(_EVENTS[name], fields)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; dicts become lists of pairs: keys may be numbers."""
    if attrs.has(type(value)):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if getattr(value, field.name) != field.default
        }
    match value:
        case enum.Enum():
            return value.value
        case dict():
            return [[_plain(key), _plain(one)] for key, one in value.items()]
        case tuple() | list():
            return [_plain(one) for one in value]
    return value


def _made(kind: Any, value: Any) -> Any:
    """Return the value of a type that `_plain` wrote.

    Raises:
        TypeError, ValueError, KeyError: it did not.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is None:
        kind = types.NoneType
    if hasattr(kind, "__supertype__"):
        return _made(kind.__supertype__, value)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        [kind] = [one for one in arguments if one is not type(None)]
        return _made(kind, value)
    if origin is tuple and arguments[-1:] == (...,):
        return tuple(_made(arguments[0], one) for one in value)
    if origin is tuple:
        return tuple(_made(one, part) for one, part in zip(arguments, value, strict=True))
    if origin is list:
        return [_made(arguments[0], one) for one in value]
    if origin is dict:
        return {_made(arguments[0], key): _made(arguments[1], one) for key, one in value}
    if attrs.has(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _made(hints[name], one) for name, one in value.items()})
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
