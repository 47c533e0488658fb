"""Every module has one purpose, which it says at its top."""

import ast
from pathlib import Path

import pytest

from .tree import files, name_of

LINES_MAX = 450
"""About 400 is plenty; beyond that a module has a second purpose."""

MODULES = files("*.py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_says_its_purpose(path: Path) -> None:
    """The docstring opens with one sentence on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no docstring"
    first = docstring.splitlines()[0]
    assert first.endswith((".", "?", ":")), f"not a sentence on one line: {first!r}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_short(path: Path) -> None:
    """A module can be read at one sitting."""
    assert len(path.read_text().splitlines()) <= LINES_MAX
