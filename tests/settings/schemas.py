"""Judging configurations by their JSON Schema, as an editor does."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from proxyserver.settings._yaml import parse
from proxyserver.settings.schema import schema


@cache
def validator() -> Draft202012Validator:
    """Make the judge of any configuration."""
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


def complaint(text: str) -> str | None:
    """Return what the schema has against a text before the environment is put in, if anything."""
    return complaint_on(parse(text, "", None).data)


def complaint_on(data: Any, judge: Draft202012Validator | None = None) -> str | None:
    error = best_match((judge or validator()).iter_errors(data))
    return None if error is None else f"{error.json_path}: {error.message}"
