"""Reading the documents: what a page explains, and where its links lead."""

import re
from collections.abc import Iterator
from pathlib import Path

from .tree import ROOT

CODE_BLOCK = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def page(name: str) -> str:
    """Return the text of a page below docs/, such as `reference/events.md`."""
    return (ROOT / "docs" / name).read_text()


def terms(text: str) -> frozenset[str]:
    """Return all inline code of a page: whoever documents a name writes it like `this`."""
    return frozenset(re.findall(r"`([^`\n]+)`", CODE_BLOCK.sub("", text)))


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no section {title!r}"
    return match.group(1)


def headings(text: str) -> list[str]:
    """Return all headings without their code marks."""
    return [title.replace("`", "") for title in HEADING.findall(CODE_BLOCK.sub("", text))]


def two_sentences(text: str) -> Iterator[str]:
    """Yield lines of prose in which a second sentence begins."""
    for line in CODE_BLOCK.sub("", text).splitlines():
        if not line.startswith(("|", "    ")) and re.search(r"[a-z`)*][.!?] +[A-Z`]", line):
            yield line


def anchor(heading: str) -> str:
    """Return the fragment by which a heading can be linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(path: Path) -> Iterator[str]:
    """Yield relative links which lead nowhere, to a missing file or to a missing heading."""
    for link in LINK.findall(CODE_BLOCK.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        anchors = map(anchor, headings(target.read_text())) if fragment and target.exists() else ()
        if not target.exists() or (fragment and fragment not in anchors):
            yield link
