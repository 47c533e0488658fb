"""What is committed speaks of the project alone: it works on every machine, from every index."""

import re
from pathlib import Path

import pytest

from .tree import ROOT, files, name_of

INDEX = r"--(?:extra-)?index-url|--find-links|pythonhosted\.org|pypi\.org/simple"
# Short paths such as /app or /root are those of many containers, and say nothing of this machine.
FOLDERS = "|".join(re.escape(f"{path}/") for path in (ROOT, Path.home()) if len(path.parts) > 2)
TRACE = re.compile(f"{INDEX}|{FOLDERS}" if FOLDERS else INDEX)
SPARED = ("LICENSE", Path(__file__).name)
# Request traces are compressed, with their provenance beside them.
TEXTS = tuple(path for path in files() if path.name not in SPARED and path.suffix != ".gz")


def traces(text: str) -> list[str]:
    """Return what in a text belongs to one machine."""
    return [match.group() for match in TRACE.finditer(text)]


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_file_names_no_machine_and_no_index(path: Path) -> None:
    """A clone works elsewhere, with whatever index and mirror that place uses."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        pytest.fail("not UTF-8: a binary has no place in this repository")
    assert traces(text) == []


@pytest.mark.parametrize(
    "text",
    ["pip install --index-url x", "https://files.pythonhosted.org/a"],
)
def test_trace_is_seen(text: str) -> None:
    """The pattern bites."""
    assert traces(text) != []
