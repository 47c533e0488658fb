"""docs/reference/cli.md tells of every command and every option, and of none that is no more."""

import re
from collections.abc import Iterator

from cyclopts import App

from proxyserver.cli import app
from tests.house.docs import headings, page, section

PAGE = page("reference/cli.md")


def commands(under: App, path: str = "aiproxy") -> Iterator[tuple[str, App]]:
    """Yield every command with its words, groups left out."""
    for name in under:
        if not name.startswith("-"):
            inner = under[name]
            yield from commands(inner, f"{path} {name}")
            if inner.default_command is not None:
                yield f"{path} {name}", inner


def test_every_command_is_documented() -> None:
    """One heading of the second level for each."""
    told = [title for title in headings(PAGE) if title.startswith("aiproxy ")]
    assert sorted(told) == sorted(name for name, _ in commands(app))


def test_every_option_is_documented() -> None:
    """Under the heading of its command, by all its names."""
    for name, command in commands(app):
        known = {
            option
            for argument in command.assemble_argument_collection()
            for option in argument.names
            if option.startswith("-")
        }
        text = section(PAGE, f"`{name}`")
        told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))
        assert known - COMMON == told - COMMON, name


COMMON = frozenset(re.findall(r"`(--[a-z-]+)", section(PAGE, "Common options")))


def test_programs_can_read_every_answer() -> None:
    """Each command has `--json`, except for those that the page names."""
    lacking = {
        name.removeprefix("aiproxy ")
        for name, command in commands(app)
        if "--json" not in {n for one in command.assemble_argument_collection() for n in one.names}
    }
    (sentence,) = re.findall(r"^Every command has it, save (.*)$", PAGE, re.MULTILINE)
    assert lacking == set(re.findall(r"`([^`]+)`", sentence))
