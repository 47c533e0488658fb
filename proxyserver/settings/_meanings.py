"""What each key of the configuration means, in the words of its reference: its tables are read."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from proxyserver.runtime._protocol import Call, LiveProbe, Probe
from proxyserver.templates import TEMPLATES

from . import _model

_HERE = Path(__file__)
PLACES = (_HERE.parents[1] / "reference", _HERE.parents[2] / "docs/reference")
"""Where the pages are: in what is installed, and in a clone."""
Table: TypeAlias = tuple[str, str, type[Any]]

CONFIGURATION = "configuration.md"
TABLES: tuple[Table, ...] = (
    (CONFIGURATION, "## server", _model.ServerEntry),
    (CONFIGURATION, "### server.keys", _model.KeyEntry),
    (CONFIGURATION, "### server.tls", _model.TlsEntry),
    (CONFIGURATION, "### server.devices", _model.DeviceEntry),
    (CONFIGURATION, "### server.log", _model.LogEntry),
    (CONFIGURATION, "### server.docker", _model.DockerEntry),
    (CONFIGURATION, "## services", _model.ServiceEntry),
    (CONFIGURATION, "### requests", _model.RequestsEntry),
    (CONFIGURATION, "### requests.headers", _model.HeadersEntry),
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
)
"""Page and heading of the table that tells of the keys of a class."""

_LINK = re.compile(r"\[([^\]]*)\]\([^)\s]*\)")
_ELSEWHERE = re.compile(r",? (?:see|as) \[(?:below|above)\]\([^)\s]*\)")


@attrs.frozen
class Row:
    """What the reference says of one key, as it stands there."""

    key: str
    default: str
    meaning: str

    @property
    def plain(self) -> str:
        """The meaning without links: there is nothing to follow in an editor."""
        return _LINK.sub(r"\1", _ELSEWHERE.sub("", self.meaning))


def rows(text: str, heading: str) -> Iterator[Row]:
    """Yield the rows of the table below a heading of a page."""
    below = text.split(f"{heading}\n", 1)[1]
    table = below[below.index("| key ") :].split("\n\n", 1)[0]
    for row in table.splitlines()[2:]:
        key, default, meaning = (cell.strip() for cell in row.strip("|").split("|", 2))
        yield Row(key.strip("`"), default.strip("`"), meaning)


def meanings(of: type[Any]) -> Mapping[str, Row]:
    """Return what the reference says of the keys of a class; nothing where it is not at hand."""
    found = next((table for table in TABLES if table[2] is of), None)
    return {} if found is None else _meanings(found[0], found[1])


@cache
def _meanings(page: str, heading: str) -> Mapping[str, Row]:
    path = next((place / page for place in PLACES if (place / page).is_file()), None)
    return {} if path is None else {row.key: row for row in rows(path.read_text("utf-8"), heading)}
