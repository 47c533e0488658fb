"""The JSON Schema of the configuration, made from the same classes and shapes that read it.

It is what an editor can know: names of keys, shapes of values, and what each key means.  Whether
a file is there, a claim fits or two names clash is for `aiproxy config check`.  So whatever the
reader takes, the schema takes too, and not the other way round.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin
from urllib.parse import quote

import attrs

from proxyserver.runtime._plugins import find_runtimes
from proxyserver.runtime._protocol import Call, Mount, PortBinding, Ulimit
from proxyserver.templates import find_templates

from . import _folders as folders
from ._errors import Problems
from ._include import read_document
from ._meanings import meanings
from ._model import (
    DeviceEntry,
    ExternalEntry,
    HealthcheckEntry,
    ServerEntry,
    ServiceEntry,
    VramClaim,
)
from ._own_templates import KINDS, FailureEntry, OwnTemplate, OwnTemplates
from ._readers import Readers
from ._shapes import ALIAS, NAME
from ._sources import Sources
from ._yaml import parse

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema: TypeAlias = dict[str, Any]

_REFERENCE = r"\$\{env:"
"""A text with a value of the environment in it: what it will be, nobody can tell by reading."""
_UNCHECKED = {"^x-": True}
_WORD: Schema = {"type": ["string", "number"]}
_WORDS: Schema = {"type": "array", "items": _WORD}
_PLAIN = ["string", "number", "boolean", "null"]


def _refer(name: str, *steps: str) -> Schema:
    return {"$ref": "#/$defs/" + "/".join(quote(step, safe="") for step in (name, *steps))}


def _text(pattern: str, *, number: bool = False) -> Schema:
    """Return a text of this form, or a reference to the environment."""
    return {
        "type": ["string", "number"] if number else "string",
        "pattern": rf"^(?:{pattern})$|{_REFERENCE}",
    }


def _number(kind: str, **limits: float) -> Schema:
    return {"type": [kind, "string"], "pattern": _REFERENCE, **limits}


def _pairs(*, of_texts: bool = False) -> Schema:
    values = ["string", "number"] if of_texts else _PLAIN
    return {
        "type": ["object", "array"],
        "additionalProperties": {"type": values},
        "items": _WORD,
    }


def _one_or_more(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item}]}


_SHAPES: Mapping[str, Schema] = {
    # The readers are in `_units`, `_plain`, `_compose` and `_shapes`.
    "size": _text(r"\d{1,18}(\.\d{1,9})? ?([KkMmGgTt]?(B|b|[Ii][Bb])?)")
    | {"type": ["integer", "string"], "minimum": 0},
    "seconds": _text(r"\d{1,9}(\.\d{1,9})?|(\d{1,9}(\.\d{1,9})? ?(ms|s|m|h|d)){1,5}", number=True)
    | {"exclusiveMinimum": 0},
    "count": _number("integer", minimum=1),
    "natural": _number("integer", minimum=0),
    "share": _number("number", exclusiveMinimum=0, maximum=1),
    "port": _number("integer", minimum=1, maximum=65535),
    "port or any": _number("integer", minimum=0, maximum=65535),
    "name": _text(NAME.pattern, number=True),
    "alias": _text(ALIAS.pattern, number=True),
    "word": _WORD,
    "mode": _text("0?[0-7]{3}", number=True),
    "regex": {"type": "string"},
    "json": {"type": ["object", "array"]},
    "json values": {"type": "object"},
    "header name": {"type": "string"},
    "headers": {"type": "object", "additionalProperties": _WORD},
    "admin path": {"type": "string"},
    "path": _WORD,
    "file": _WORD,
    "folder": _WORD,
    "model": _WORD,
    "models": {"type": ["string", "number", "array"], "items": _WORD, "minItems": 1},
    "listen host": {"type": "string"},
    "own host": {"type": "string"},
    "origin": _text(r"[a-z][a-z0-9+.\-]*://[^/]+"),
    "hours of a day": _text(r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)"),
    "time zone": {"type": "string"},
    "key hash": _text(r"sha256:[0-9a-f]{64}"),
    "command": {"type": ["string", "array"], "items": _WORD},
    "environment": _pairs(),
    "hosts": _pairs(of_texts=True),
    "environment files": _one_or_more(
        {
            "type": ["string", "object"],
            "properties": {"path": {"type": "string"}, "required": {"type": "boolean"}},
            "required": ["path"],
        }
    ),
    "url": _text(r"https?://.+"),
    "processors": {"type": ["number", "string"], "exclusiveMinimum": 0},
    "texts": _one_or_more({"type": "string"}),
    "pairs": _pairs(),
    "probing": {"type": ["string", "array"], "items": _WORD},
    "gpus": {
        "anyOf": [{"enum": ["all"]}, {"type": "boolean"}, _number("integer", minimum=0)],
    },
}
"""By the tag of a shape in `proxyserver.shapes`."""

_MOUNT: Schema = {
    "type": ["string", "object"],
    "properties": {
        "type": {"enum": ["bind", "volume"]},
        "source": _WORD,
        "target": _WORD,
        "read_only": {"type": "boolean"},
    },
    "required": ["source", "target"],
    "additionalProperties": False,
}
_ULIMITS: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": ["integer", "object"],
        "properties": {"soft": {"type": "integer"}, "hard": {"type": "integer"}},
        "required": ["soft", "hard"],
        "additionalProperties": False,
    },
}


@attrs.define
class _Writer:
    """Writes the schema of types; classes become definitions that are referred to."""

    definitions: dict[str, Schema] = attrs.field(factory=dict)
    _names: dict[type[Any], str] = attrs.field(factory=dict)

    def schema(self, type_: Any) -> Schema:
        """Return the schema of what is read for a type; of one that is unknown, nothing is said."""
        if (special := self.special().get(type_)) is not None:
            return special()
        origin, args = get_origin(type_), get_args(type_)
        match origin:
            case _ if origin is Annotated:
                return self.shape(args[1]) if args[1] in _SHAPES else self.schema(args[0])
            case _ if origin is Literal:
                return self.choice(args)
            case _ if origin in (Union, UnionType):
                return self.union(args)
            case _ if origin in (tuple, list):
                return {"type": "array", "items": self.schema(args[0])}
            case _ if isinstance(origin, type) and issubclass(origin, Mapping):
                return {
                    "type": "object",
                    "propertyNames": self.schema(args[0]),
                    "additionalProperties": self.schema(args[1]),
                }
        if isinstance(type_, type) and attrs.has(type_):
            return self.reference(type_)
        return dict(_BUILT_IN.get(type_, {}))

    def special(self) -> Mapping[Any, Callable[[], Schema]]:
        """Return the types that have a shorter form, or one of their own."""
        size = self.shape("size")
        return {
            DeviceEntry: lambda: {"anyOf": [size, self.reference(DeviceEntry)]},
            ExternalEntry: lambda: {
                **self.reference(ExternalEntry),
                "anyOf": [{"required": ["url"]}, {"required": ["socket"]}],
            },
            HealthcheckEntry: lambda: {
                "anyOf": [{"type": "boolean"}, self.reference(HealthcheckEntry)]
            },
            VramClaim: lambda: {
                "anyOf": [size, {"type": "object", "additionalProperties": size}],
            },
            tuple[Call, ...]: lambda: _one_or_more(self.reference(Call)),
            tuple[Ulimit, ...]: lambda: dict(_ULIMITS),
            Mount: lambda: dict(_MOUNT),
            PortBinding: lambda: _text(r"(.+:)?\d{1,5}:\d{1,5}(/(tcp|udp))?"),
        }

    def shape(self, tag: str) -> Schema:
        """Refer to a shape, except where it is as short as that."""
        schema = _SHAPES[tag]
        if len(schema) == 1:
            return dict(schema)
        self.definitions[tag] = schema
        return _refer(tag)

    def choice(self, words: tuple[Any, ...]) -> Schema:
        return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": _REFERENCE}]}

    def union(self, args: tuple[Any, ...]) -> Schema:
        parts = [self.schema(arg) for arg in args if arg is not NoneType]
        if NoneType in args:
            parts.append({"type": "null"})
        return {"anyOf": parts}

    def reference(self, cls: type[Any]) -> Schema:
        """Define a class once, and refer to it."""
        if cls not in self._names:
            name = cls.__name__.removesuffix("Entry")
            if name in self._names.values():
                name = f"{cls.__module__}.{cls.__qualname__}"
            self._names[cls] = name
            self.definitions[name] = {}  # A class may hold itself.
            self.definitions[name].update(self.object(self.properties(cls), required(cls)))
        return _refer(self._names[cls])

    def object(self, properties: Schema, needed: list[str]) -> Schema:
        return {
            "type": "object",
            "properties": properties,
            **({"required": needed} if needed else {}),
            "additionalProperties": False,
        }

    def properties(self, cls: type[Any]) -> Schema:
        """Return the keys of a class, with what the reference says of them."""
        told = meanings(cls)
        result = {}
        for field in attrs.fields(cls):
            schema = self.schema(field.type)
            if (row := told.get(field.name)) is not None:
                schema["description"] = row.plain
                if row.default:
                    schema["default"] = parse(row.default, "", {}).data
            result[field.name] = schema
        return result


_BUILT_IN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: _number("integer"),
    float: _number("number"),
    bool: {"type": ["boolean", "string"], "pattern": _REFERENCE},
}


def required(cls: type[Any]) -> list[str]:
    """Return the keys that a class cannot do without."""
    return [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]


def schema_of(file: Path | None) -> Schema:
    """Return the schema of any configuration, or of one with its own templates as types.

    Raises:
        SettingsError: that one cannot be read, or its templates are wrong.
    """
    if file is None:
        return schema()
    document = read_document(file, {})
    templates = document.data.get("templates") if isinstance(document.data, dict) else None
    found = Problems(document.problems.marks)
    own = OwnTemplates(Readers(found, {}, Sources()), found)
    if templates is not None:
        own.read(templates, find_templates(_reserved()).usable)
    found.check()
    return schema(own.there)


def _reserved() -> list[str]:
    return [field.name for field in attrs.fields(ServiceEntry)]


def schema(own: Mapping[str, OwnTemplate] | None = None) -> Schema:
    """Return the schema of a configuration.

    It knows the templates and runtimes of other packages that are installed.

    Args:
        own: the templates of one configuration, as further types; None: it is for any, so that
            types are not checked where there is a `templates:`.
    """
    writer = _Writer()
    offers = find_runtimes(_reserved())
    common = writer.properties(ServiceEntry)
    for offer in offers.usable.values():
        common[offer.name] = writer.schema(offer.options)
    usable = find_templates(_reserved()).usable
    options = {name: template.options for name, template in usable.items()}
    kinds = {
        **{name: (writer.properties(cls), required(cls)) for name, cls in options.items()},
        **{name: _own_options(writer, one) for name, one in (own or {}).items()},
    }
    _services(writer, common, kinds)
    writer.definitions["template"] = _template(writer, common, kinds)
    is_open = own is None
    strict: Schema = {"additionalProperties": _refer("service")}
    loose: Schema = {"additionalProperties": _refer("service of any type")}
    return {
        "$schema": DRAFT,
        "title": "The configuration of aiproxy",
        "type": "object",
        "properties": {
            "include": _one_or_more({"type": "string"})
            | {"description": "Further files, by name, folder or pattern, from this one's folder."},
            "server": writer.reference(ServerEntry) | {"description": "The machine, and defaults."},
            "templates": {
                "type": ["object", "null"],
                "patternProperties": _UNCHECKED,
                "additionalProperties": _refer("template"),
                "description": "Servers of your own kind, without code.",
            },
            "services": {
                "type": "object",
                "propertyNames": {"pattern": f"^{NAME.pattern}$"},
                "description": "What can be started, by id.",
            },
        },
        "patternProperties": _UNCHECKED,
        "additionalProperties": False,
        "required": ["services"],
        **(
            {
                "if": {"required": ["templates"]},
                "then": {"properties": {"services": loose}},
                "else": {"properties": {"services": strict}},
            }
            if is_open
            else {"allOf": [{"properties": {"services": strict}}]}
        ),
        "$defs": writer.definitions,
    }


_Kinds: TypeAlias = Mapping[str, tuple[Schema, list[str]]]


def _services(writer: _Writer, common: Schema, kinds: _Kinds) -> None:
    """Define a service of each type, of one of them, and of any type at all."""
    names = list(kinds)
    writer.definitions["all services"] = {"properties": common}
    every = {key: _refer("all services", "properties", key) for key in common}
    for name, (properties, needed) in kinds.items():
        own = {**every, **properties, "type": {"const": name, "description": "Its template."}}
        folder: Schema = {}
        if name in folders.TYPES:
            own["models_dir"] = writer.shape("path") | {"description": folders.MEANING}
            folder = {"if": {"not": {"required": ["models_dir"]}}, "then": {"required": needed}}
        writer.definitions[f"service of type {name}"] = {
            **writer.object(own, [] if folder else needed),
            **folder,
            "patternProperties": _UNCHECKED,
        }
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": _refer(f"service of type {name}"),
        }
        for name in names
    ]
    untyped: Schema = {
        "if": {"not": {"required": ["type"]}},
        "then": {
            **_refer("service of type custom"),
            "anyOf": [{"required": [key]} for key in ("container", "process", "external")],
        },
    }
    writer.definitions["service"] = {
        "type": "object",
        "properties": {
            "type": {
                "anyOf": [{"enum": names}, {"type": "string", "pattern": _REFERENCE}],
                "description": "What it is: it decides which further keys there are.",
            }
        },
        "allOf": [*by_type, untyped],
    }
    writer.definitions["service of any type"] = {
        "type": "object",
        "properties": {**every, "type": {"type": "string"}},
        "allOf": [*by_type, untyped],
    }


def _own_options(writer: _Writer, template: OwnTemplate) -> tuple[Schema, list[str]]:
    properties = {}
    for name, kind in template.kinds.items():
        properties[name] = writer.schema(kind)
        if name in template.defaults:
            default = template.defaults[name]
            properties[name] = {"anyOf": [properties[name], {"type": "null"}], "default": default}
    return properties, [name for name in template.kinds if name not in template.defaults]


def _template(writer: _Writer, common: Schema, kinds: _Kinds) -> Schema:
    """Define a template of one's own: its values may have macros in them, so keys alone count."""
    words: Schema = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    kind: Schema = {"anyOf": [{"enum": list(KINDS)}, words]}
    told: Schema = {
        "type": "object",
        "properties": {"type": kind, "default": True},
        "required": ["type"],
        "additionalProperties": False,
    }
    options: dict[str, Any] = {}
    for properties, _ in kinds.values():
        options |= dict.fromkeys(properties, True)
    described = {
        key: {"description": said} if (said := one.get("description")) else True
        for key, one in common.items()
    }
    return {
        "type": "object",
        "properties": {
            **options,
            **described,
            "options": {
                "type": ["object", "null"],
                "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
                "additionalProperties": {"anyOf": [kind, told]},
                "description": "What services of this type may say: names and types.",
            },
            "failures": {
                "type": "array",
                "items": writer.reference(FailureEntry),
                "description": "Lines of its log that tell why it failed.",
            },
        },
        "patternProperties": _UNCHECKED,
        "additionalProperties": False,
    }
