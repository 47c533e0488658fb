"""Templates that the configuration itself defines: macros put into the keys of a service.

What such a template says becomes, with the values of its options put in, what the service says,
where it says nothing itself.  All that is rendered keeps the place where it was written, so that
a mistake in it is told by the line of the template.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from proxyserver import shapes
from proxyserver.runtime._protocol import FailurePattern

from ._errors import Marks, Problems, Steps, near
from ._model import ServiceEntry
from ._readers import Readers
from ._shapes import name as good_name
from ._units import shown

MACRO = re.compile(r"\$\{([^}]*)\}")
KINDS: Mapping[str, Any] = {
    "text": shapes.Word,
    "flag": bool,
    "number": float,
    "whole": int,
    "count": shapes.Count,
    "natural": shapes.Natural,
    "size": shapes.Size,
    "seconds": shapes.Seconds,
    "path": shapes.HostPath,
    "file": shapes.ExistingFile,
    "folder": shapes.ExistingFolder,
    "model": shapes.Model,
    "words": shapes.Command,
}
BUILT_IN = ("service", "names")
"""Macros that every template has: the id of the service, and that with its aliases as a list."""
_LEFT = "PORT"
"""Not ours: the runtime puts in the port of a process."""
_OPTION_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COMMANDS = ("command", "entrypoint", "args")
_LEFT_OUT = object()


@attrs.frozen
class FailureEntry:
    kind: shapes.Name
    pattern: shapes.Regex
    heals: bool = False
    out_of_memory: bool = False
    advice: str = ""


@attrs.frozen
class OwnTemplate:
    """One template of the configuration, checked as far as that can be done without options."""

    name: str
    kinds: Mapping[str, Any]
    """The type of each option."""
    defaults: Mapping[str, Any]
    """As they were written; an option that is missing here is required."""
    body: Mapping[str, Any]
    failures: tuple[FailurePattern, ...]


@attrs.define
class OwnTemplates:
    """All templates of a configuration."""

    readers: Readers
    found: Problems
    there: dict[str, OwnTemplate] = attrs.field(factory=dict, init=False)
    broken: set[str] = attrs.field(factory=set, init=False)

    def read(self, written: Any, bases: Mapping[str, Any]) -> None:
        """Read `templates:`; what is wrong goes to `found`."""
        if not isinstance(written, dict):
            self.found.add(("templates",), f"expected a mapping, not {shown(written)}")
            return
        for key, value in written.items():
            if key.startswith("x-"):
                continue
            at: Steps = ("templates", key)
            self.broken.add(key)
            try:
                good_name(key)
            except ValueError as error:
                self.found.add(at, str(error), at_key=True)
                continue
            if key in bases:
                self.found.add(at, "there is a template of this name already", at_key=True)
            elif not isinstance(value, dict):
                self.found.add(at, f"expected a mapping, not {shown(value)}")
            elif (template := self.template(key, value, at, bases)) is not None:
                self.there[key] = template
                self.broken.discard(key)

    def template(
        self, key: str, written: dict[str, Any], at: Steps, bases: Mapping[str, Any]
    ) -> OwnTemplate | None:
        before = len(self.found)
        options = written.get("options") or {}
        kinds: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        if not isinstance(options, dict):
            self.found.add((*at, "options"), f"expected a mapping, not {shown(options)}")
            options = {}
        for option, told in options.items():
            self.option(option, told, (*at, "options", option), kinds, defaults)
        body = {k: v for k, v in written.items() if k not in ("options", "failures")}
        base = body.get("type", "custom")
        if not isinstance(base, str) or base not in bases:
            hint = near(base, bases) if isinstance(base, str) else ""
            self.found.add((*at, "type"), f"unknown type {shown(base)} to build on{hint}")
            return None
        common = [field.name for field in attrs.fields(ServiceEntry)]
        known = [*common, *(field.name for field in attrs.fields(bases[base].options))]
        for part in body:
            if part not in known and not part.startswith("x-"):
                hint = near(part, (*known, "options", "failures"))
                self.found.add((*at, part), f"unknown key{hint}", at_key=True)
        for where, word in _macros(body, at):
            if word not in (*kinds, *BUILT_IN, _LEFT):
                hint = near(word, (*kinds, *BUILT_IN))
                self.found.add(where, f"there is no option {word!r}{hint}")
        failures = self.failures(written.get("failures", []), (*at, "failures"))
        if len(self.found) > before:
            return None
        return OwnTemplate(key, kinds, defaults, body, failures)

    def option(
        self, option: str, told: Any, at: Steps, kinds: dict[str, Any], defaults: dict[str, Any]
    ) -> None:
        common = [field.name for field in attrs.fields(ServiceEntry)]
        if not _OPTION_NAME.fullmatch(option) or option in BUILT_IN or option in common:
            why = (
                "is a key or macro that every service has"
                if option in (*common, *BUILT_IN)
                else ("is no good name of an option: a-z, 0-9 and '_', a letter first")
            )
            self.found.add(at, f"{option!r} {why}", at_key=True)
            return
        entry = told if isinstance(told, dict) else {"type": told}
        for key in entry:
            if key not in ("type", "default"):
                self.found.add(
                    (*at, key), f"unknown key{near(key, ('type', 'default'))}", at_key=True
                )
        kind = entry.get("type")
        where = (*at, "type") if isinstance(told, dict) else at
        kinds[option] = str
        if isinstance(kind, list) and kind and all(isinstance(one, str) for one in kind):
            kinds[option] = Literal[tuple(kind)]
        elif isinstance(kind, str) and kind in KINDS:
            kinds[option] = KINDS[kind]
        else:
            hint = near(kind, KINDS) if isinstance(kind, str) else ""
            known = ", ".join(KINDS)
            said = f"expected one of {known}, or a list of words, not {shown(kind)}{hint}"
            self.found.add(where, said)
            return
        if "default" in entry:
            defaults[option] = entry["default"]
            if entry["default"] is not None:
                self.readers.read(entry["default"], kinds[option], (*at, "default"))

    def failures(self, written: Any, at: Steps) -> tuple[FailurePattern, ...]:
        entries = self.readers.read(written, tuple[FailureEntry, ...], at)
        return tuple(FailurePattern(**attrs.asdict(entry)) for entry in entries or ())

    def expanded(
        self, template: OwnTemplate, service: str, written: Mapping[str, Any], marks: Marks
    ) -> dict[str, Any] | None:
        """Return what a service says with what its template adds; None: an option is wrong."""
        at: Steps = ("services", service)
        before = len(self.found)
        common = [field.name for field in attrs.fields(ServiceEntry)]
        aliases = written.get("aliases")
        values: dict[str, Any] = {
            "service": service,
            "names": [service, *(aliases if isinstance(aliases, list) else [])],
            _LEFT: f"${{{_LEFT}}}",
        }
        filled: dict[str, Mapping[str, str]] = {}
        for option, kind in template.kinds.items():
            if option not in written and option not in template.defaults:
                self.found.add((*at, option), "is missing")
                continue
            given = written.get(option, template.defaults.get(option))
            here: Steps = (*at, option)
            values[option] = None if given is None else self.readers.read(given, kind, here)
            secrets = [said for place, said in marks.filled.items() if place[:3] == here]
            if secrets:
                filled[option] = {value: name for said in secrets for value, name in said.items()}
        for key in written:
            if key not in (*common, *template.kinds) and not key.startswith("x-"):
                hint = near(key, (*common, *template.kinds))
                self.found.add((*at, key), f"unknown key{hint}", at_key=True)
        if len(self.found) > before:
            return None
        rendering = _Rendering(values, filled, marks, self.found)
        source: Steps = ("templates", template.name)
        body = {
            key: rendering.value(value, (*source, key), (*at, key), key in _COMMANDS)
            for key, value in template.body.items()
        }
        own = {k: v for k, v in written.items() if k not in template.kinds and k != "type"}
        return _merged({k: v for k, v in body.items() if v is not _LEFT_OUT}, own)


@attrs.frozen
class _Rendering:
    """Puts values into the text of a template."""

    values: Mapping[str, Any]
    filled: Mapping[str, Mapping[str, str]]
    """What of the values came from the environment, and must not be told."""
    marks: Marks
    found: Problems

    def value(self, written: Any, source: Steps, target: Steps, is_command: bool) -> Any:
        self.marks.stand_in(target, source)
        if is_command and isinstance(written, str):
            try:
                written = shlex.split(written)
            except ValueError as error:
                self.found.add(source, f"cannot split the command into words: {error}")
                return _LEFT_OUT
        match written:
            case str():
                return self.text(written, source, target)
            case dict():
                parts = {
                    key: self.value(value, (*source, key), (*target, key), key in _COMMANDS)
                    for key, value in written.items()
                }
                return {key: value for key, value in parts.items() if value is not _LEFT_OUT}
            case list():
                return list(self.items(written, source, target))
        return written

    def items(self, written: list[Any], source: Steps, target: Steps) -> Iterator[Any]:
        for index, item in enumerate(written):
            here = (*source, index)
            if isinstance(item, list):
                # A flag with its value: without one there is neither.
                words = [word for _, word in _macros(item, here)]
                if any(self.values[word] is None or self.values[word] is False for word in words):
                    continue
                yield from self.items(item, here, (*target, index))
            elif isinstance(item, dict) and item.keys() == {"when", "words"}:
                if self.values[item["when"]]:
                    words = item["words"] if isinstance(item["words"], list) else [item["words"]]
                    yield from self.items(words, (*here, "words"), (*target, index))
            else:
                value = self.value(item, here, (*target, index), False)
                if isinstance(value, list | tuple) and isinstance(item, str):
                    yield from value
                elif value is not _LEFT_OUT:
                    yield value

    def text(self, written: str, source: Steps, target: Steps) -> Any:
        words = MACRO.findall(written)
        for word in words:
            if word in self.filled:
                self.marks.hide(target, self.filled[word])
        if len(words) == 1 and written == f"${{{words[0]}}}":
            value = self.values[words[0]]
            return (
                _LEFT_OUT if value is None else list(value) if isinstance(value, tuple) else value
            )

        def put(match: re.Match[str]) -> str:
            value = self.values[match[1]]
            if value is None:
                said = f"the option {match[1]!r} has no value to put here"
                self.found.add(source, said)
                return ""
            if isinstance(value, bool):
                return shown(value)
            if isinstance(value, list | tuple):
                return " ".join(map(str, value))
            return f"{value:g}" if isinstance(value, float) else str(value)

        return MACRO.sub(put, written)


def _macros(written: Any, at: Steps) -> Iterator[tuple[Steps, str]]:
    """Yield every name of an option that is used, and where."""
    match written:
        case str():
            for word in MACRO.findall(written):
                yield at, word
        case dict():
            if written.keys() == {"when", "words"}:
                yield (*at, "when"), str(written["when"])
                yield from _macros(written["words"], (*at, "words"))
                return
            for key, value in written.items():
                yield from _macros(value, (*at, key))
        case list():
            for index, value in enumerate(written):
                yield from _macros(value, (*at, index))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put one mapping over another, key by key where both are mappings."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result
