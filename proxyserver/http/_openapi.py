"""The document `/openapi.json`: the table of all routes for programs."""

from collections.abc import Iterable
from typing import Any

from proxyserver.surfaces import ANY, SURFACES, Shape, shape_of

from ._answers import ANSWERS, NAMED
from ._routes import GENERAL_ERRORS, TABLE, WAIT, YAML, Entry, Sent
from .errors import CODES

_METHODS = ("get", "post", "put", "patch", "delete", "options", "head", "trace")
_SURFACES = {row.path: row for row in SURFACES}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The password is the key."},
}
_MODEL_SCHEMA = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string", "minLength": 1}},
}
_ERRORS = {
    Shape.OPENAI: "Error",
    Shape.ANTHROPIC: "AnthropicError",
    Shape.OLLAMA: "OllamaError",
}
_OLLAMA_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}


def openapi(version: str) -> dict[str, Any]:
    """Return the table as an OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for entry in TABLE:
        for method in _methods(entry):
            paths.setdefault(entry.path, {})[method] = _operation(entry)
    error = {
        "type": "object",
        "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {"type": "string"},
            "type": {"type": "string"},
            "param": {"type": ["string", "null"]},
            "code": {"type": "string", "enum": list(CODES)},
            # Of `configuration_refused` alone.
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
        },
    }
    wrapped = {"type": "object", "required": ["error"], "properties": {"error": error}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "AI inference proxy", "version": version},
        "paths": paths,
        "components": {
            "schemas": {
                "Error": wrapped,
                "AnthropicError": _ANTHROPIC_ERROR,
                "OllamaError": _OLLAMA_ERROR,
                "Model": _MODEL_SCHEMA,
                **NAMED,
            },
            "securitySchemes": _KEYS,
        },
    }


def _methods(entry: Entry) -> Iterable[str]:
    if entry.method != ANY:
        return (entry.method.lower(),)
    row = _SURFACES.get(entry.path)
    return [method for method in _METHODS if row is None or row.takes(method.upper().encode())]


_TEXT = {"type": "string"}
_REQUEST = {"$ref": "#/components/schemas/Model"}


def _operation(entry: Entry) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("id", "path")
        if f"{{{name}}}" in entry.path
    ]
    parameters += [
        {
            "name": query.name,
            "in": "query",
            "description": query.meaning,
            "required": query.required,
            "schema": {"type": query.kind, **query.limits},
        }
        for query in entry.query
    ]
    codes = ", ".join(dict.fromkeys((*entry.errors, *GENERAL_ERRORS)))
    schema = ANSWERS.get(entry.path)
    content = {} if schema is None else {"schema": schema}
    good = {"description": entry.answer, "content": {entry.media: content}}
    # Who does not wait gets one object, of what would come as lines.
    accepted = {"202": {**good, "content": {"application/json": content}}}
    return {
        "summary": entry.summary,
        "tags": ["services" if entry.is_for_services else "proxy"],
        "parameters": parameters,
        **({} if entry.sent is None else {"requestBody": _body(entry.sent)}),
        "responses": {
            "200": good,
            **(accepted if WAIT in entry.query else {}),
            "default": {"description": f"An error: {codes}.", "content": _errors(entry)},
        },
        # The empty one: without keys in the configuration none is needed.
        "security": []
        if entry.who == "anyone"
        else [{"bearer": []}, {"x-api-key": []}, {"basic": []}, {}],
    }


def _errors(entry: Entry) -> dict[str, Any]:
    shapes = {shape: {"$ref": f"#/components/schemas/{name}"} for shape, name in _ERRORS.items()}
    # Where the path is not all known, its rest decides.
    shape = shapes[shape_of(entry.path.encode())]
    ours = [*shapes.values()] if entry.method == ANY else [shape]
    if not entry.is_passed_on:
        return {"application/json": {"schema": shape}}
    of_a_service = {"description": "What the service itself answers, as it came."}
    return {"application/json": {"schema": {"anyOf": [*ours, of_a_service]}}, "*/*": {}}


def _body(sent: Sent) -> dict[str, Any]:
    return {
        "description": sent.meaning,
        "required": sent.media != YAML,
        "content": {sent.media: {"schema": _TEXT if sent.media == YAML else _REQUEST}},
    }
