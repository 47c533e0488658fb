"""The reference of the configuration tells what the code reads."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest

from proxyserver.settings import _model
from proxyserver.settings._meanings import CONFIGURATION, TABLES, Row, rows
from proxyserver.settings._shapes import make_converter
from proxyserver.settings._yaml import parse

DOCS = Path(__file__).parents[2] / "docs/reference"
FACTORY: type[Any] = type(attrs.Factory(list))


def told(page: str, heading: str) -> list[Row]:
    """Return the rows of the table below a heading."""
    found = list(rows((DOCS / page).read_text(), heading))
    assert [row for row in found if not row.meaning.endswith(".")] == []
    return found


@pytest.mark.parametrize(("page", "heading", "entry"), TABLES, ids=lambda value: str(value))
def test_every_key_is_documented(page: str, heading: str, entry: type[Any]) -> None:
    """The table has the keys that the code reads, in its order, and no other."""
    fields = [field.name for field in attrs.fields(entry)]
    assert [row.key for row in told(page, heading)] == fields


@pytest.mark.parametrize(("page", "heading", "entry"), TABLES, ids=lambda value: str(value))
def test_every_default_is_documented(page: str, heading: str, entry: type[Any]) -> None:
    """The default that the table tells is what the code takes; none where it decides later."""
    converter = make_converter(Path("/"), {})
    for row in told(page, heading):
        field = getattr(attrs.fields(entry), row.key)
        default = field.default.factory() if isinstance(field.default, FACTORY) else field.default
        if row.default:
            read = converter.structure(parse(row.default, page, {}).data, field.type)
            assert read == default, row.key
        else:
            assert default in (None, attrs.NOTHING) or attrs.has(type(default)), row.key


@pytest.mark.parametrize("entry", [_model.ServerEntry, _model.LogEntry])
def test_words_of_choices_are_documented(entry: type[Any]) -> None:
    """Each word that a key may have stands on the page."""
    page = (DOCS / CONFIGURATION).read_text()
    choices = [field.type for field in attrs.fields(entry) if get_origin(field.type) is Literal]
    assert choices
    assert [
        word for choice in choices for word in get_args(choice) if f"`{word}`" not in page
    ] == []
