"""Answers of the API, held against what its document says of them."""

import re
from typing import Any

import jsonschema

from proxyserver.http._openapi import openapi


def _closed(schema: Any) -> Any:
    """Return a schema that allows no key which it does not name: the document tells all."""
    match schema:
        case {"properties": _}:
            return {key: _closed(one) for key, one in schema.items()} | {
                "additionalProperties": False
            }
        case dict():
            return {key: _closed(one) for key, one in schema.items()}
        case list():
            return [_closed(one) for one in schema]
    return schema


DOCUMENT = _closed(openapi("1"))


def check(method: str, path: str, status: int, said: Any) -> None:
    """Complain about an answer that the document does not know."""
    plain = path.partition("?")[0]
    for template, operations in DOCUMENT["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+(?:/tiny)?", template)
        if method.lower() in operations and re.fullmatch(pattern, plain):
            answers = operations[method.lower()]["responses"]
            content = answers.get(str(status), answers["default"])["content"]
            schema = content.get("application/json", {}).get("schema", {})
            # Where a service may answer whatever it likes, the proxy itself may not.
            if ours := [one for one in schema.get("anyOf", ()) if "$ref" in one]:
                schema = {"anyOf": ours}
            jsonschema.validate(said, {**schema, "components": DOCUMENT["components"]})
            return
