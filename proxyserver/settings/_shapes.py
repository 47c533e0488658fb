"""From YAML values to the types of `proxyserver.shapes`: what is accepted, and what is said if not.

cattrs alone is too kind for people's files: it makes 5 of "5", true of "no", and a list of
letters of a word.  Here a value is what it says it is, or a problem.
"""

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from proxyserver import shapes
from proxyserver.runtime._protocol import Mount, PortBinding

from . import _units
from ._errors import Problems, Steps, near
from ._model import DeviceEntry, VramClaim
from ._units import shown

_ALIAS = re.compile(r"[!-~]{1,128}")
_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.:-]*(/[\w.:-]+)?", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VARIABLE = re.compile(r"[^=\0]+")


def structure(converter: cattrs.Converter, value: Any, to: Any, at: Steps, found: Problems) -> Any:
    """Read a value; None when it is not as it should be, with all that is wrong in `found`."""
    try:
        return converter.structure(value, to)
    except Exception as error:
        _note(error, at, found)
        return None


def _note(error: BaseException, at: Steps, found: Problems) -> None:
    match error:
        case cattrs.ClassValidationError() | cattrs.IterableValidationError():
            placed, unplaced = error.group_exceptions()
            for inner, note in placed:
                step = note.name if isinstance(note, cattrs.AttributeValidationNote) else note.index
                _note(inner, (*at, step), found)
            for inner in unplaced:
                _note(inner, at, found)
        case cattrs.ForbiddenExtraKeysError():
            known = [field.name for field in attrs.fields(error.cl)]
            for key in sorted(error.extra_fields):
                found.add((*at, key), f"unknown key{near(key, known)}", at_key=True)
        case KeyError():
            found.add(at, "is missing")
        case ValueError():
            found.add(at, str(error))
        case _:
            raise error  # our own mistake


def make_converter(base: Path, environ: Mapping[str, str]) -> cattrs.Converter:
    """Make the reader of one file, whose relative paths start at `base`."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)

    def read(to: Any, reader: Callable[[Any], Any]) -> None:
        # cattrs looks at what is registered for classes before it asks any function.
        if isinstance(to, type):
            converter.register_structure_hook(to, lambda value, _: reader(value))
        else:
            converter.register_structure_hook_func(lambda t: t == to, lambda v, _: reader(v))

    @converter.register_structure_hook_factory(attrs.has)
    def _entry(cls: type[Any]) -> Callable[[Any, Any], Any]:
        inner = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        return lambda value, type_: inner(_mapping(value), type_)

    @converter.register_structure_hook_factory(lambda t: _is(t, tuple))
    def _list(type_: Any) -> Callable[[Any, Any], Any]:
        to = GenericAlias(list, get_args(type_)[:1])
        inner = converter.get_structure_hook(to)
        return lambda value, _: tuple(inner(_a_list(value), to))

    @converter.register_structure_hook_factory(lambda t: _is(t, Mapping))
    def _dict(type_: Any) -> Callable[[Any, Any], Any]:
        to = GenericAlias(dict, get_args(type_))
        inner = converter.get_structure_hook(to)
        return lambda value, _: inner(_mapping(value), to)

    @converter.register_structure_hook_factory(lambda t: _is(t, Literal))
    def _choice(type_: Any) -> Callable[[Any, Any], Any]:
        return lambda value, _: _one_of(value, get_args(type_))

    @converter.register_structure_hook_factory(_is_mixed)
    def _word_or(type_: Any) -> Callable[[Any, Any], Any]:
        """Read "one of these words, or something else", such as `auto` or a duration."""
        choices = [word for arg in get_args(type_) if _is(arg, Literal) for word in get_args(arg)]
        (rest,) = (arg for arg in get_args(type_) if arg is not NoneType and not _is(arg, Literal))
        inner = converter.get_structure_hook(rest)

        def read_one(value: Any, _: Any) -> Any:
            if value is None and NoneType in get_args(type_):
                return None
            if any(type(value) is type(choice) and value == choice for choice in choices):
                return value
            try:
                return inner(value, rest)
            except ValueError as error:
                raise ValueError(f"{error}; or {', '.join(map(shown, choices))}") from None

        return read_one

    def device(value: Any) -> DeviceEntry:
        fields = value if isinstance(value, dict) else {"memory": value}
        result: DeviceEntry = entry_of_device(fields, DeviceEntry)
        return result

    def vram(value: Any) -> VramClaim:
        if isinstance(value, dict):
            return VramClaim(by_device=converter.structure(value, dict[str, shapes.Size]))
        return VramClaim(total=_units.size(value))

    def mount(value: Any) -> Mount:
        return _mount(value, base)

    read(VramClaim, vram)
    read(Mount, mount)
    read(PortBinding, _binding)
    read(str, _text)
    read(int, lambda value: _whole(value, None, None))
    read(float, _number)
    read(bool, _flag)
    read(shapes.Size, _units.size)
    read(shapes.Seconds, _units.seconds)
    read(shapes.Count, lambda value: _whole(value, 1, None))
    read(shapes.Natural, lambda value: _whole(value, 0, None))
    read(shapes.Share, _share)
    read(shapes.Port, lambda value: _whole(value, 1, 65535))
    read(shapes.PortOrAny, lambda value: _whole(value, 0, 65535))
    read(shapes.Name, name)
    read(shapes.Alias, _alias)
    read(shapes.Word, _word)
    read(shapes.Regex, _regex)
    read(shapes.Command, _command)
    read(shapes.Environment, lambda value: _environment(value, environ))
    read(shapes.ExtraHosts, _hosts)
    read(shapes.Gpus, _gpus)
    read(shapes.LoopbackHost, _loopback)
    read(shapes.HostPath, lambda value: str(host_path(_word(value), base)))
    read(shapes.ExistingFile, lambda value: _file(_word(value), base))
    read(shapes.ExistingFolder, lambda value: _folder(_word(value), base))
    read(shapes.Model, lambda value: _model(_word(value), base))
    read(shapes.Models, lambda value: _models(value, base))
    # Last: what is made for a class fixes the readers of its fields.
    entry_of_device = converter.get_structure_hook(DeviceEntry)
    read(DeviceEntry, device)
    return converter


def _is(type_: Any, origin: Any) -> bool:
    return get_origin(type_) is origin


def _is_mixed(type_: Any) -> bool:
    """Tell whether it is a union of more than a type and None."""
    union = get_origin(type_) in (Union, UnionType)
    return union and len([arg for arg in get_args(type_) if arg is not NoneType]) > 1


def host_path(text: str, base: Path) -> Path:
    """Make a path absolute; `~` is the home of who runs the daemon.

    Raises:
        ValueError: it is empty, or names a home that is unknown.
    """
    if not text or "\0" in text:
        raise ValueError(f"expected a path, not {shown(text)}")
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r}: {error}") from None


def name(value: Any) -> str:
    text = _word(value)
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is no good name: up to 63 of a-z, 0-9, '.', '_' and '-',"
            " a letter or digit first"
        )
    return text


def _alias(value: Any) -> str:
    text = _word(value)
    if not _ALIAS.fullmatch(text):
        raise ValueError(f"{shown(text)} is no good alias: up to 128 visible characters, no spaces")
    return text


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a mapping, not {shown(value)}")
    return value


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {shown(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {shown(value)} (quote it if you mean it)")
    return value


def _word(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(getattr(value, "text", value))
    return _text(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {shown(value)}")
    return value


def _whole(value: Any, least: int | None, most: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, not {shown(value)}")
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise ValueError(f"expected a whole number {bounds}, not {shown(value)}")
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"expected a number, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{shown(value)} is too large") from None


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 < number <= 1:
        raise ValueError(f"expected a number above 0 and up to 1, not {shown(value)}")
    return number


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    words = [shown(choice) if isinstance(choice, bool) else str(choice) for choice in choices]
    hint = near(value, words) if isinstance(value, str) else ""
    raise ValueError(f"expected {' or '.join(words)}, not {shown(value)}{hint}")


def _regex(value: Any) -> str:
    text = _text(value)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"cannot split the command into words: {error}") from None
    if not isinstance(value, list):
        raise ValueError(f"expected a command as a list of words or a text, not {shown(value)}")
    return tuple(_word(word) for word in value)


def _pairs(value: Any, separator: str, what: str) -> Iterator[tuple[str, Any]]:
    """Read a mapping, or a list of pairs; the second is None where there is no separator."""
    if isinstance(value, dict):
        yield from value.items()
        return
    if not isinstance(value, list):
        raise ValueError(f"expected a mapping or a list of {what}, not {shown(value)}")
    for item in value:
        first, found, second = _word(item).partition(separator)
        yield first, second if found else None


def _environment(value: Any, environ: Mapping[str, str]) -> Mapping[str, str]:
    result: dict[str, str] = {}
    for variable, given in _pairs(value, "=", "NAME=value"):
        if not _VARIABLE.fullmatch(variable):
            raise ValueError(f"{shown(variable)} is no name of a variable")
        if given is None:
            # As in compose: our own value, and no variable at all where we have none.
            if variable in environ:
                result[variable] = environ[variable]
        else:
            text = shown(given) if isinstance(given, bool) else _word(given)
            if "\0" in text:
                raise ValueError(f"the value of {variable} has a NUL in it")
            result[variable] = text
    return result


def _hosts(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple(_pairs(value, ":", "name:address"))
    for host, address in pairs:
        if not host or not isinstance(address, str) or not address:
            raise ValueError(f"expected name:address, not {shown(host)} alone")
    return pairs


def _gpus(value: Any) -> bool:
    if value == "all":
        return True
    if isinstance(value, bool):
        return value
    try:
        return _whole(value, 0, None) > 0
    except ValueError:
        raise ValueError(f"expected all, true, false or a count, not {shown(value)}") from None


def _loopback(value: Any) -> str:
    text = _text(value)
    try:
        loopback = text == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            f"{shown(text)} is no loopback address; without keys the proxy listens on this"
            " machine only: take 127.0.0.1, ::1 or localhost"
        )
    return text


def _file(text: str, base: Path) -> str:
    path = host_path(text, base)
    try:
        if path.is_file():
            return str(path)
    except OSError as error:
        raise ValueError(f"cannot look at {path}: {error.strerror}") from None
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    raise ValueError(f"no such file: {path}")


def _folder(text: str, base: Path) -> str:
    path = host_path(text, base)
    try:
        if path.is_dir():
            return str(path)
    except OSError as error:
        raise ValueError(f"cannot look at {path}: {error.strerror}") from None
    if path.exists():
        raise ValueError(f"{path} is a file, not a folder")
    raise ValueError(f"no such folder: {path}")


def _model(text: str, base: Path) -> str:
    """Tell names at the hub from paths: a path says so by how it starts, as in a shell."""
    if text.startswith((".", "/", "~")):
        path = host_path(text, base)
        if not path.exists():
            raise ValueError(f"no such file or folder: {path}")
        return str(path)
    if not _HUB_NAME.fullmatch(text):
        raise ValueError(
            f"expected a name at the model hub (Qwen/Qwen3-8B) or a path (./models/mine),"
            f" not {shown(text)}"
        )
    if (base / text).exists():
        raise ValueError(
            f"{text!r} is read as a name at the model hub; write ./{text} for what is here"
        )
    return text


def _models(value: Any, base: Path) -> tuple[str, ...]:
    written = value if isinstance(value, list) else [value]
    if not written:
        raise ValueError("names no model")
    return tuple(_model(_word(one), base) for one in written)


def _mount(value: Any, base: Path) -> Mount:
    if isinstance(value, dict):
        kind = value.get("type", "bind")
        extra = [key for key in value if key not in ("type", "source", "target", "read_only")]
        if extra:
            known = ("type", "source", "target", "read_only")
            raise ValueError(f"unknown key {extra[0]!r}{near(extra[0], known)}")
        _one_of(kind, ("bind", "volume"))
        source, target = _word(value.get("source")), _word(value.get("target"))
        read_only = _flag(value.get("read_only", False))
    else:
        source, *rest = _text(value).split(":")
        if not 1 <= len(rest) <= 2 or rest[1:] not in ([], ["ro"], ["rw"]):
            raise ValueError(f"expected source:target or source:target:ro, not {shown(value)}")
        target, read_only = rest[0], rest[1:] == ["ro"]
        # As in compose, a bare word is the name of a volume, anything like a path is a path.
        kind = "bind" if source.startswith((".", "/", "~")) else "volume"
    if not target.startswith("/"):
        raise ValueError(f"the target must be an absolute path, not {shown(target)}")
    if not source:
        raise ValueError("the source is missing")
    if kind == "volume":
        return Mount(source, target, read_only)
    path = host_path(source, base)
    if not path.exists():
        raise ValueError(f"no such file or folder: {path}")
    return Mount(str(path), target, read_only)


def _binding(value: Any) -> PortBinding:
    """Read a port as compose writes it: `8081:80`, `127.0.0.1:8081:80`, `8081:80/udp`."""
    text, _, protocol = _word(value).partition("/")
    match = re.fullmatch(r"(?:(\[[0-9a-f:]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})", text, re.ASCII)
    if match is None or protocol not in ("", "tcp", "udp"):
        raise ValueError(f"expected host_port:container_port, not {shown(value)}")
    address = (match[1] or "127.0.0.1").strip("[]")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"{shown(address)} is no IP address") from None
    host, container = (_whole(int(port), 1, 65535) for port in match.group(2, 3))
    return PortBinding(container, host, address, protocol or "tcp")
