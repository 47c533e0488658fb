"""The journal: every `(now, event)` as a line, so that a bug report replays to the same decisions.

A journal is a sequence of lines.  The first is a head, with the configuration, the name of the
policy and all that the core remembered; each of the others is one event, or what the core ordered
because of the event before it.  An event is written before it is handled, so that a bug report has
the one that broke the core; its orders follow, if there are any.  Facts are not written: they come
with the orders.  A head may come again (the shell rotates files, and each begins with one): the
replay then goes on from there, so every file replays by itself.
"""

import enum
import functools
import json
import types
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Union, assert_never, get_args, get_origin, get_type_hints

import attrs

from . import events as ev
from ._books import Books
from ._core import Core
from ._errors import LocalError
from .config import CoreConfig, Placement
from .effects import (
    Admit,
    Changed,
    Effect,
    Explained,
    KillRun,
    MeasureMemory,
    Refuse,
    SleepRun,
    Started,
    StartRun,
    StopRun,
    Waiting,
    WakeRun,
)
from .policy import POLICIES, EvictionPolicy

VERSION = 4

_EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(ev.Event)}


class JournalError(LocalError):
    """A line that is no part of a journal, or that the core refuses."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@attrs.frozen
class Replayed:
    """One event of a journal, and what the core does about it now."""

    line: int
    """Counted from 1."""
    now: float
    event: ev.Event
    effects: tuple[Effect, ...]
    config: CoreConfig
    ordered: tuple[str, ...] | None
    """What the core ordered when the journal was written; None: the journal ends before that."""

    @property
    def orders(self) -> tuple[str, ...]:
        """What the core orders now."""
        return orders(self.effects)

    @property
    def differs(self) -> bool:
        return self.ordered is not None and self.ordered != self.orders


def head(core: Core) -> str:
    """Return the line from which a replay can begin: all that the core knows now."""
    return _line(
        {
            "journal": VERSION,
            "policy": core.policy.name,
            "config": _plain(core.config),
            "books": _plain(core.books),
        }
    )


def entry(now: float, event: ev.Event) -> str:
    """Return the line of one event.

    It is put together by hand, because there are two of them for each request.
    """
    name, fields = _keys(type(event))  # type: ignore[arg-type]  # a class is hashable
    told = [
        f"{key}:{_text(value)}"
        for key, field, default in fields
        if (value := getattr(event, field)) != default
    ]
    return f'{{"now":{_text(now)},{name}:{{{",".join(told)}}}}}\n'


def orders(effects: Iterable[Effect]) -> tuple[str, ...]:
    """Return what effects ask for, one line of text each; facts ask for nothing."""
    return tuple([order for effect in effects if (order := _order(effect)) is not None])


def ordered(effects: Iterable[Effect]) -> str | None:
    """Return the line of what was ordered because of the event before it; None: there is none."""
    told = orders(effects)
    return f'{{"ordered":[{",".join(map(_quoted, told))}]}}\n' if told else None


def _order(effect: Effect) -> str | None:
    match effect:
        case Admit(ticket, service, run):  # First, because most are.
            return f"admit {ticket} to {service}#{run}"
        case StartRun(service, run, placement, host):
            inside = "" if host is None else f" in run {host}"
            return f"start {service}#{run} on {_place(placement)}{inside}"
        case StopRun(service, run):
            return f"stop {service}#{run}"
        case KillRun(service, run):
            return f"kill {service}#{run}"
        case SleepRun(service, run):
            return f"let {service}#{run} sleep"
        case WakeRun(service, run):
            return f"wake {service}#{run}"
        case MeasureMemory(devices):
            return f"measure {', '.join(devices)}"
        case Started(ticket, service, run):
            return f"tell {ticket} that {service}#{run} is ready"
        case Refuse(ticket, service, reason):
            return f"refuse {ticket} for {service}: {reason.value}"
        case Changed() | Waiting() | Explained():
            return None
        case _:
            assert_never(effect)


def _place(placement: Placement) -> str:
    return ", ".join(f"{device} {amount}" for device, amount in placement.amounts) or "no device"


def replay(
    lines: Iterable[str],
    policy: EvictionPolicy | None = None,
    *,
    policies: Mapping[str, EvictionPolicy] = POLICIES,
    broken: list[JournalError] | None = None,
) -> Iterator[Replayed]:
    """Yield every event of a journal with the effects that the core has for it.

    A last line without its line feed was torn by a crash, and is left out.

    Args:
        lines: of the journal, each with its line feed.
        policy: what decides now; None: what decided then.
        policies: where that is looked up by its name.
        broken: where broken lines are collected while the replay goes on; None: it ends there.

    Raises:
        JournalError: a line is broken, or cannot be, and `broken` is None; says which and why.
    """
    core: Core | None = None
    last: Replayed | None = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        step: Replayed | None = None
        try:
            entries = json.loads(line)
            if not isinstance(entries, dict):
                raise TypeError("not an object")
            if "journal" in entries:
                core = _resume(entries, policy, policies)
            elif core is None:
                raise KeyError("the first line is no head")
            elif "ordered" in entries:
                if last is not None:
                    last = attrs.evolve(last, ordered=_made(tuple[str, ...], entries["ordered"]))
                continue
            else:
                now, event = _event(entries)
                step = Replayed(number, now, event, core.handle(event, now), core.config, None)
        except (ValueError, TypeError, KeyError, LocalError) as error:
            problem = JournalError(number, str(error))
            if broken is None:
                raise problem from error
            broken.append(problem)
        if last is not None:
            # An event follows, so what was ordered before it would stand here.
            complete = step is not None and last.ordered is None
            yield attrs.evolve(last, ordered=()) if complete else last
        last = step
    if last is not None:
        yield last


def _resume(
    entries: dict[str, Any],
    policy: EvictionPolicy | None,
    policies: Mapping[str, EvictionPolicy],
) -> Core:
    if entries["journal"] != VERSION:
        raise ValueError(f"journal version {entries['journal']!r}, not {VERSION}")
    name = _made(str, entries["policy"])
    if policy is None and name not in policies:
        raise ValueError(f"policy {name!r} is not known here; there are {', '.join(policies)}")
    books: Books = _made(Books, entries["books"])
    config: CoreConfig = _made(CoreConfig, entries["config"])
    return Core.resume(config, books, policy=policy or policies[name])


def _event(entries: dict[str, Any]) -> tuple[float, ev.Event]:
    now = _made(float, entries.pop("now"))
    [(name, fields)] = entries.items()
    return now, _made(_EVENTS[name], fields)


def _line(value: Any) -> str:
    return _ENCODER.encode(value) + "\n"


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_quoted = json.encoder.encode_basestring_ascii
_PLAIN = frozenset({str, int, float, bool, types.NoneType})


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...] | None:
    """Return the fields of a class of ours with their defaults; None: it is another class."""
    if not attrs.has(kind):
        return None
    return tuple((field.name, field.default) for field in attrs.fields(kind))


@functools.cache
def _keys(kind: type) -> tuple[str, tuple[tuple[str, str, Any], ...]]:
    """Return the name of an event and its fields as in JSON, each with name and default."""
    fields = _fields(kind) or ()
    return _quoted(kind.__name__), tuple((_quoted(name), name, one) for name, one in fields)


def _text(value: Any) -> str:
    """Return a value as JSON; the commonest kinds by themselves."""
    kind = type(value)
    if kind is int:
        return repr(value)
    if kind is str:
        return _quoted(value)
    if kind is float and isfinite(value):
        return repr(value)
    return _ENCODER.encode(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; dicts become lists of pairs: keys may be numbers."""
    kind = type(value)
    if kind in _PLAIN:  # Most are, and there are two events for each request.
        return value
    fields = _fields(kind)  # type: ignore[arg-type]  # a class is hashable
    if fields is not None:
        return {
            name: _plain(one)
            for name, default in fields
            if (one := getattr(value, name)) != default
        }
    match value:
        case enum.Enum():
            return value.value
        case dict():
            return [[_plain(key), _plain(one)] for key, one in value.items()]
        case tuple() | list():
            return [_plain(one) for one in value]
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of the fields of a class: to look for them again makes a replay slow."""
    return get_type_hints(kind)


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
    if origin in (dict, OrderedDict):
        return origin((_made(arguments[0], key), _made(arguments[1], one)) for key, one in value)
    if attrs.has(kind):
        hints = _hints(kind)
        return kind(**{name: _made(hints[name], one) for name, one in value.items()})
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
