"""From YAML values to the types of `proxyserver.shapes`: what is accepted, and what is said if not.

cattrs alone is too kind for people's files: it makes 5 of "5", true of "no", and a list of
letters of a word.  Here a value is what it says it is, or a problem.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from proxyserver import shapes
from proxyserver.access import digest_of
from proxyserver.admin_paths import is_pattern
from proxyserver.runtime._protocol import Call, Mount, PortBinding, Ulimit

from . import _compose, _units
from ._compose_keys import WHY_NOT
from ._errors import Problems, Steps, near
from ._files import existing_file, existing_folder, model, models
from ._model import ContainerEntry, DeviceEntry, HealthcheckEntry, VramClaim
from ._plain import (
    a_list,
    command,
    flag,
    host_path,
    mapping,
    number,
    one_of,
    share,
    text_of,
    url,
    whole,
    word,
)
from ._request_shapes import header_name, headers, json_values
from ._schedules import hours, timezone
from ._sources import Sources
from ._units import shown

ALIAS = re.compile(r"[!-~]{1,128}")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_HOST = re.compile(
    r"(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.(?i:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?))*"
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")


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
                why = WHY_NOT.get(key) if error.cl is ContainerEntry else None
                said = f"not taken: {why}" if why else f"unknown key{near(key, known)}"
                found.add((*at, key), said, at_key=True)
        case KeyError():
            found.add(at, "is missing")
        case ValueError():
            found.add(at, str(error))
        case _:
            raise error  # our own mistake


def make_converter(
    base: Path, environ: Mapping[str, str], sources: Sources | None = None
) -> cattrs.Converter:
    """Make the reader of one file, whose relative paths start at `base`.

    `sources` takes note of further files that are read.
    """
    noted = sources or Sources()
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
        return lambda value, type_: inner(mapping(value), type_)

    @converter.register_structure_hook_factory(lambda t: _is(t, tuple))
    def _list(type_: Any) -> Callable[[Any, Any], Any]:
        to = GenericAlias(list, get_args(type_)[:1])
        inner = converter.get_structure_hook(to)
        return lambda value, _: tuple(inner(a_list(value), to))

    @converter.register_structure_hook_factory(lambda t: _is(t, Mapping))
    def _dict(type_: Any) -> Callable[[Any, Any], Any]:
        to = GenericAlias(dict, get_args(type_))
        inner = converter.get_structure_hook(to)
        return lambda value, _: inner(mapping(value), to)

    @converter.register_structure_hook_factory(lambda t: _is(t, Literal))
    def _choice(type_: Any) -> Callable[[Any, Any], Any]:
        return lambda value, _: one_of(value, get_args(type_))

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
        return _compose.mount_of(value, base)

    def healthcheck(value: Any) -> HealthcheckEntry:
        # As the image says, or not at all.
        fields = {"disable": not value} if isinstance(value, bool) else value
        result: HealthcheckEntry = entry_of_healthcheck(fields, HealthcheckEntry)
        return result

    def calls(value: Any) -> tuple[Call, ...]:
        if isinstance(value, dict):
            return (one_call(value, Call),)
        result: tuple[Call, ...] = list_of_calls(value, tuple[Call, ...])
        return result

    read(VramClaim, vram)
    read(Mount, mount)
    read(PortBinding, _compose.binding)
    read(tuple[Ulimit, ...], _compose.ulimits)
    read(str, text_of)
    read(int, lambda value: whole(value, None, None))
    read(float, number)
    read(bool, flag)
    read(shapes.Size, _units.size)
    read(shapes.Seconds, _units.seconds)
    read(shapes.Count, lambda value: whole(value, 1, None))
    read(shapes.Natural, lambda value: whole(value, 0, None))
    read(shapes.Share, share)
    read(shapes.Port, lambda value: whole(value, 1, 65535))
    read(shapes.PortOrAny, lambda value: whole(value, 0, 65535))
    read(shapes.Name, name)
    read(shapes.Alias, _alias)
    read(shapes.Word, word)
    read(shapes.Mode, _mode)
    read(shapes.Regex, _regex)
    read(shapes.AdminPath, _admin_path)
    read(shapes.Json, _json)
    read(shapes.JsonValues, json_values)
    read(shapes.HeaderName, header_name)
    read(shapes.Headers, headers)
    read(shapes.Command, command)
    read(shapes.Environment, lambda value: _compose.environment(value, environ))
    read(shapes.EnvironmentFiles, lambda value: _compose.environment_files(value, base, noted))
    read(shapes.ExtraHosts, _compose.hosts)
    read(shapes.Gpus, _compose.gpus)
    read(shapes.Processors, _compose.processors)
    read(shapes.Url, url)
    read(shapes.Texts, _compose.texts)
    read(shapes.Pairs, _compose.named_texts)
    read(shapes.Probing, _compose.probing)
    read(shapes.ListenHost, _listen_host)
    read(shapes.OwnHost, _own_host)
    read(shapes.Origin, _origin)
    read(shapes.Hours, hours)
    read(shapes.Timezone, timezone)
    read(shapes.KeyHash, _key_hash)
    read(shapes.HostPath, lambda value: str(host_path(word(value), base)))
    read(shapes.ExistingFile, lambda value: existing_file(word(value), base))
    read(shapes.ExistingFolder, lambda value: existing_folder(word(value), base))
    read(shapes.Model, lambda value: model(word(value), base))
    read(shapes.Models, lambda value: models(value, base))
    # Last: what is made for a class fixes the readers of its fields.
    entry_of_device = converter.get_structure_hook(DeviceEntry)
    entry_of_healthcheck = converter.get_structure_hook(HealthcheckEntry)
    one_call = converter.get_structure_hook(Call)
    list_of_calls = converter.get_structure_hook(tuple[Call, ...])
    read(tuple[Call, ...], calls)
    read(DeviceEntry, device)
    read(HealthcheckEntry, healthcheck)
    return converter


def _is(type_: Any, origin: Any) -> bool:
    return get_origin(type_) is origin


def _is_mixed(type_: Any) -> bool:
    """Tell whether it is a union of more than a type and None."""
    union = get_origin(type_) in (Union, UnionType)
    return union and len([arg for arg in get_args(type_) if arg is not NoneType]) > 1


def is_name(text: str) -> bool:
    """Tell whether a service, a device or a key can be called so."""
    return NAME.fullmatch(text) is not None


def name(value: Any) -> str:
    text = word(value)
    if not is_name(text):
        raise ValueError(
            f"{shown(text)} is no good name: up to 63 of a-z, 0-9, '.', '_' and '-',"
            " a letter or digit first"
        )
    return text


def _mode(value: Any) -> int:
    text = word(value)
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError(f"{shown(text)} is no mode of a file: three octal digits, such as 660")
    return int(text, 8)


def _alias(value: Any) -> str:
    text = word(value)
    if not ALIAS.fullmatch(text):
        raise ValueError(f"{shown(text)} is no good alias: up to 128 visible characters, no spaces")
    return text


def _regex(value: Any) -> str:
    text = text_of(value)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _json(value: Any) -> str:
    if not isinstance(value, dict | list):
        raise ValueError(f"expected a mapping or a list, not {shown(value)}")
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot be said as JSON: {error}") from None


def _admin_path(value: Any) -> str:
    text = text_of(value)
    if not is_pattern(text):
        raise ValueError(
            f"{shown(text)} is no path of administration: /sleep, POST /api/pull, /api/admin/*"
            " or ?autoload, for instance"
        )
    return text


def _listen_host(value: Any) -> str:
    text = text_of(value)
    if not (_HOST.fullmatch(text) or _is_address(text)):
        raise ValueError(
            f"{shown(text)} is no address and no name: 127.0.0.1, ::1, localhost, 0.0.0.0 or ::"
        )
    return text


def _own_host(value: Any) -> str:
    text = text_of(value).lower()
    if text != "*" and not _HOST.fullmatch(text.removeprefix("*.")) and not _is_address(text):
        raise ValueError(
            f"{shown(text)} is no name of a host: gpu.lan or *.example.org, without scheme and port"
        )
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _origin(value: Any) -> str:
    text = text_of(value)
    if text == "*":
        # Browsers send what they know of us along by themselves; it would be any page's then.
        raise ValueError("any page of any site is too much: name the origins, there may be many")
    if not _ORIGIN.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is no origin: https://chat.example.org, with a port where it has one,"
            " and nothing behind"
        )
    return text


def _key_hash(value: Any) -> str:
    text = text_of(value)
    if digest_of(text) is None:
        raise ValueError(
            "is no hash of a key: `sha256:` and 64 hexadecimal digits; `aiproxy keys new NAME`"
            " makes a key and its hash"
        )
    return text
