"""YAML text to plain values that know where they stand.

The scalars are those of YAML 1.2 (PyYAML alone reads `no` as false, `22:22` as 1342, `0755` as
493 and `1e3` as text).  Anchors, aliases and merge keys (`<<`) work; tags of one's own do not.
`${env:NAME}` and `${env:NAME:-default}` are put in after parsing, so that a value from the
environment can be a number or a word, yet never add a key; `$$` stands for one `$`.
Any other `$` stays, because `${PORT}` in a command is for the runtime.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import yaml

from ._errors import Mark, Marks, Problem, Problems, SettingsError, Steps

BYTES_MAX = 1024 * 1024
"""A configuration of a thousand services takes a quarter of this."""
DEPTH_MAX = 32
"""The deepest key that means anything is at 7."""
VALUES_MAX = 100_000
"""Aliases count each time that they are used: ten lines of them can stand for 10^9 values."""

_REFERENCE = re.compile(r"\$\$|\$\{env:(?:([A-Za-z_]\w*)(?::-([^{}]*))?\})?", re.ASCII)
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"


class Whole(int):
    """A whole number that remembers how it was written (`0755` in an environment)."""

    text: str


class Fraction(float):
    """A number that remembers how it was written (`1.10` in an image's tag)."""

    text: str


def _whole(text: str) -> Whole:
    digits = text.lstrip("+-")
    base = {"0o": 8, "0x": 16}.get(digits[:2], 10)
    number = Whole(text if base == 10 else digits[2:], base)
    number.text = text
    return number


def _fraction(text: str) -> Fraction:
    number = Fraction(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    number.text = text
    return number


_SCALARS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    # The core schema of YAML 1.2, https://yaml.org/spec/1.2.2/#1032-tag-resolution
    ("null", r"~|null|Null|NULL|", lambda text: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _whole),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan",
        _fraction,
    ),
    ("str", r"(?s:.*)", str),
)
_KINDS = {_TAG + name: (re.compile(pattern), make) for name, pattern, make in _SCALARS}


class _Loader(yaml.SafeLoader):
    """PyYAML's parser without its YAML 1.1 scalars, with a limit to its recursion."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        # What a plain scalar is can only be told when the environment has been filled in.
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        name = {yaml.ScalarNode: "str", yaml.SequenceNode: "seq", yaml.MappingNode: "map"}[kind]
        return _TAG + name


@attrs.frozen
class Document:
    """What a file says, and where."""

    data: Any
    """dict, list, str, bool, None, `Whole` or `Fraction`; keys are always text."""
    problems: Problems
    """What was wrong with single values; the marks of all."""


def parse(text: str, file: str, environ: Mapping[str, str] | None) -> Document:
    """Parse YAML text, filling in environment variables; with None, leaving texts as they are.

    Raises:
        SettingsError: the text cannot be read as one YAML document at all.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        raise _broken(file, mark, f"the character U+{error.character:04X} is not allowed") from None
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        context = f"{error.context}: " if error.context else ""
        mark = _mark(error.problem_mark or error.context_mark)
        raise _broken(file, mark, f"broken YAML: {context}{error.problem}") from None
    except (ValueError, ArithmeticError, LookupError) as error:
        # PyYAML lets some through, such as chr() of an escape beyond Unicode.
        mark = _mark(loader.get_mark())
        raise _broken(file, mark, f"broken YAML: {error}") from None
    if node is None:
        raise _broken(file, Mark(), "the file is empty; it needs at least `services:`")
    reading = _Reading(file, environ)
    return Document(reading.value(node, ()), reading.problems)


def _broken(file: str, mark: Mark, message: str) -> SettingsError:
    return SettingsError([Problem(file, mark.line, mark.column, "", message)])


def _mark(mark: yaml.Mark | None) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark()


@attrs.define
class _Reading:
    """The walk from nodes to values."""

    file: str
    environ: Mapping[str, str] | None
    values: dict[Steps, Mark] = attrs.field(factory=dict, init=False)
    keys: dict[Steps, Mark] = attrs.field(factory=dict, init=False)
    filled_in: dict[Steps, dict[str, str]] = attrs.field(factory=dict, init=False)
    problems: Problems = attrs.field(init=False)
    count: int = 0

    def __attrs_post_init__(self) -> None:
        self.problems = Problems(Marks(self.file, self.values, self.keys, self.filled_in))

    def value(self, node: yaml.Node, steps: Steps, depth: int = 0) -> Any:
        self.values[steps] = _mark(node.start_mark)
        self.visit(node, depth, 1)
        match node:
            case yaml.MappingNode(tag=tag) if tag == f"{_TAG}map":
                result: dict[str, Any] = {}
                self.mapping(node, steps, depth, result)
                return result
            case yaml.SequenceNode(tag=tag, value=items) if tag == f"{_TAG}seq":
                return [
                    self.value(item, (*steps, index), depth + 1) for index, item in enumerate(items)
                ]
            case yaml.ScalarNode():
                return self.scalar(node, steps)
        self.problems.add(steps, f"the tag {node.tag!r} means nothing here")
        return None

    def visit(self, node: yaml.Node, depth: int, count: int) -> None:
        self.count += count
        if self.count > VALUES_MAX or depth > DEPTH_MAX:
            what = "nested too deeply" if depth > DEPTH_MAX else f"more than {VALUES_MAX} values"
            raise _broken(self.file, _mark(node.start_mark), f"{what}, aliases followed")

    def mapping(
        self, node: yaml.MappingNode, steps: Steps, depth: int, result: dict[str, Any]
    ) -> None:
        """Add what the mapping says to `result`, where what is there already wins."""
        own: dict[str, Mark] = {}
        merged: list[yaml.Node] = []
        self.visit(node, depth, len(node.value))
        for key_node, value_node in node.value:
            key, mark = key_node.value, _mark(key_node.start_mark)
            if key == "<<" and key_node.tag == _PLAIN:
                many = isinstance(value_node, yaml.SequenceNode)
                self.keys[(*steps, key)] = mark
                merged += value_node.value if many else [value_node]
            elif not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(steps, "a key must be a word, not a list or a mapping")
            elif key in own:
                self.keys[(*steps, key)] = mark
                first = f"given twice, first in line {own[key].line}"
                self.problems.add((*steps, key), first, at_key=True)
            else:
                own[key] = mark
                if key not in result:
                    self.keys[(*steps, key)] = mark
                    result[key] = self.value(value_node, (*steps, key), depth + 1)
        # What stands here itself wins over what is merged in, and the earlier over the later.
        for source in merged:
            if isinstance(source, yaml.MappingNode):
                self.mapping(source, steps, depth + 1, result)
            else:
                self.problems.add((*steps, "<<"), "only mappings can be merged")

    def scalar(self, node: yaml.ScalarNode, steps: Steps) -> Any:
        text = self.filled(node.value, steps)
        kinds = list(_KINDS) if node.tag == _PLAIN else [node.tag]
        for pattern, make in (_KINDS[kind] for kind in kinds if kind in _KINDS):
            if pattern.fullmatch(text):
                try:
                    return make(text)
                except ValueError:  # Python reads no number of more than 4300 digits
                    break
        kind = "" if node.tag == _PLAIN else f" for the tag {node.tag!r}"
        self.problems.add(steps, f"{text[:40]!r} will not do{kind}")
        return None

    def filled(self, text: str, steps: Steps) -> str:
        environ = self.environ
        if environ is None:
            return text

        def fill(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            name, default = match[1], match[2]
            if name is None:
                self.problems.add(steps, "write ${env:NAME} or ${env:NAME:-default}")
                return ""
            # As in a shell, `:-` stands in for an empty variable too.
            value = environ.get(name)
            if value:
                self.filled_in.setdefault(steps, {})[value] = match[0]
            value = value or default
            if value is None and name not in environ:
                message = f"the environment variable {name} is not set; give it a default: "
                self.problems.add(steps, f"{message}${{env:{name}:-...}}")
            return value or ""

        return _REFERENCE.sub(fill, text)
