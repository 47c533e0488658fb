"""The reference of the configuration tells what the code reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest

from proxyserver.runtime._protocol import Call, LiveProbe, Probe
from proxyserver.settings import _model
from proxyserver.settings._shapes import make_converter
from proxyserver.settings._yaml import parse
from proxyserver.templates import TEMPLATES

DOCS = Path(__file__).parents[2] / "docs/reference"
CONFIGURATION = "configuration.md"
FACTORY: type[Any] = type(attrs.Factory(list))
TABLES = [
    (CONFIGURATION, "## server", _model.ServerEntry),
    (CONFIGURATION, "### server.devices", _model.DeviceEntry),
    (CONFIGURATION, "### server.log", _model.LogEntry),
    (CONFIGURATION, "### server.docker", _model.DockerEntry),
    (CONFIGURATION, "## services", _model.ServiceEntry),
    (CONFIGURATION, "### sleep and wake", Call),
    (CONFIGURATION, "### memory", _model.MemoryEntry),
    (CONFIGURATION, "### models", _model.ModelEntry),
    (CONFIGURATION, "### container", _model.ContainerEntry),
    (CONFIGURATION, "### healthcheck", _model.HealthcheckEntry),
    (CONFIGURATION, "### process", _model.ProcessEntry),
    (CONFIGURATION, "### external", _model.ExternalEntry),
    (CONFIGURATION, "### ready", Probe),
    (CONFIGURATION, "### live", LiveProbe),
    *(
        (f"templates/{name}.md", "## Options", template.options)
        for name, template in TEMPLATES.items()
        if attrs.fields(template.options)
    ),
]


def rows(page: str, heading: str) -> Iterator[tuple[str, str]]:
    """Yield key and default of each row of the table below a heading."""
    text = (DOCS / page).read_text().split(f"{heading}\n", 1)[1]
    table = text[text.index("| key ") :].split("\n\n", 1)[0]
    for row in table.splitlines()[2:]:
        key, default, meaning = (cell.strip() for cell in row.strip("|").split("|", 2))
        assert meaning.endswith("."), row
        yield key.strip("`"), default.strip("`")


@pytest.mark.parametrize(("page", "heading", "entry"), TABLES, ids=lambda value: str(value))
def test_every_key_is_documented(page: str, heading: str, entry: type[Any]) -> None:
    """The table has the keys that the code reads, in its order, and no other."""
    fields = [field.name for field in attrs.fields(entry)]
    assert [key for key, _ in rows(page, heading)] == fields


@pytest.mark.parametrize(("page", "heading", "entry"), TABLES, ids=lambda value: str(value))
def test_every_default_is_documented(page: str, heading: str, entry: type[Any]) -> None:
    """The default that the table tells is what the code takes; none where it decides later."""
    converter = make_converter(Path("/"), {})
    for key, told in rows(page, heading):
        field = getattr(attrs.fields(entry), key)
        default = field.default.factory() if isinstance(field.default, FACTORY) else field.default
        if told:
            assert converter.structure(parse(told, page, {}).data, field.type) == default, key
        else:
            assert default in (None, attrs.NOTHING) or attrs.has(type(default)), key


@pytest.mark.parametrize("entry", [_model.ServerEntry, _model.LogEntry])
def test_words_of_choices_are_documented(entry: type[Any]) -> None:
    """Each word that a key may have stands on the page."""
    page = (DOCS / CONFIGURATION).read_text()
    choices = [field.type for field in attrs.fields(entry) if get_origin(field.type) is Literal]
    assert choices
    assert [
        word for choice in choices for word in get_args(choice) if f"`{word}`" not in page
    ] == []
