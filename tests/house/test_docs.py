"""The documents are complete and hold together."""

import ast
import doctest
import importlib
from pathlib import Path
from typing import get_args

import pytest

from proxycore import Event, Reason, effects

from . import lifecycle_page
from .docs import broken_links, headings, page, section, terms, two_sentences
from .tree import ROOT, files, name_of

EVENTS = page("reference/events.md")


def names(union: object) -> list[str]:
    """Return the names of the classes in a union, in the order of their definition."""
    return [member.__name__ for member in get_args(union)]


@pytest.mark.parametrize(("title", "union"), [("Events", Event), ("Effects", effects.Effect)])
def test_every_event_and_effect_is_documented(title: str, union: object) -> None:
    """The page has one heading for each, and none for what is no more."""
    assert sorted(headings(section(EVENTS, title))) == sorted(names(union))


@pytest.mark.parametrize("union", [Event, effects.Effect])
def test_every_field_is_documented(union: object) -> None:
    """Each field is told of under the heading of its class, or once for all."""
    common = terms(section(EVENTS, "Common fields"))
    for member in get_args(union):
        told = EVENTS.split(f"### `{member.__name__}`\n")[1].split("\n#")[0]
        assert {field.name for field in member.__attrs_attrs__} - terms(told) - common == set()


def test_every_reason_is_documented() -> None:
    """A client that is refused can look up why."""
    assert {reason.value for reason in Reason} - terms(EVENTS) == set()


def test_every_cause_of_a_failure_is_documented() -> None:
    """Who reads a kind of cause can look up what would help; patterns are checked beside them."""
    calls = (
        node
        for path in files("proxyserver/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Cause")
    )
    kinds = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    assert {"stuck", "exit"} <= kinds, "the search finds nothing"
    assert kinds - terms(page("reference/failures.md")) == set()


def test_every_page_is_listed() -> None:
    """Nobody has to guess that a page is there."""
    index = page("index.md")
    pages = {str(path.relative_to(ROOT / "docs")) for path in files("docs/*.*")} - {"index.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()


@pytest.mark.parametrize("package", ["proxycore", "proxyserver"])
def test_every_module_has_its_place(package: str) -> None:
    """The architecture says of each module and package that others import what it is for."""
    paths = {path.relative_to(ROOT / package) for path in files(f"{package}/*.py")}
    public = {path.name if len(path.parts) == 1 else f"{path.parts[0]}/" for path in paths}
    told = terms(page("architecture.md"))
    assert {name for name in public if not name.startswith("_")} - told == set()


@pytest.mark.parametrize("path", files("*.md"), ids=name_of)
def test_a_sentence_has_its_line(path: Path) -> None:
    """A change of one sentence is a change of one line."""
    assert list(two_sentences(path.read_text())) == []


def test_two_sentences_are_seen() -> None:
    """The rule above bites: on prose, not on tables, headings in bold, or code."""
    assert list(two_sentences("One. Two.\n| One. Two. |\n- **One.** Two.\n    x. Y\n")) == [
        "One. Two."
    ]


def test_the_drawn_lifecycle_is_the_real_one() -> None:
    """The page was drawn again after the last change of the table."""
    assert lifecycle_page.PAGE.read_text() == lifecycle_page.draw()


@pytest.mark.parametrize("path", files("*.md"), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link ends at a file, and at a heading where it names one."""
    assert list(broken_links(path)) == []


@pytest.mark.parametrize("path", files("proxycore/*.py"), ids=name_of)
def test_examples_in_docstrings_are_true(path: Path) -> None:
    """An example shows what really happens."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert doctest.testmod(module).failed == 0


def test_broken_link_is_seen(tmp_path: Path) -> None:
    """The rule above bites: on files, on headings, not inside code."""
    (tmp_path / "b.md").write_text("# What `we` do\n```\n# no heading\n```\n")
    here = tmp_path / "a.md"
    here.write_text(
        "[1](b.md) [2](b.md#what-we-do) [3](c.md) [4](b.md#no-heading) [5](https://x.org)\n"
        "```\n[6](d.md)\n```\n"
    )
    assert list(broken_links(here)) == ["c.md", "b.md#no-heading"]
