"""One document out of a file and those that it includes: `include:`, at the top of a file.

Each file is read once, however often it is named.  Nothing stands twice: a service, a template, or
a key of `server:` that two files have is told with both places.
"""

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ._errors import Problem, Problems, SettingsError, Steps, near
from ._plain import host_path, word
from ._sources import Sources
from ._units import shown
from ._yaml import BYTES_MAX, Document, parse

KEY = "include"
PARTS = ("server", "templates", "services")
"""What may be shared out among files, key by key."""
FILES_MAX = 256
DEPTH_MAX = 8
ALL_BYTES_MAX = 4 * BYTES_MAX
_IN_A_FOLDER = ("*.yaml", "*.yml")


def read_document(
    path: Path,
    environ: Mapping[str, str] | None,
    sources: Sources | None = None,
    *,
    text: str | None = None,
) -> Document:
    """Read a file and all that it includes.

    Args:
        path: the file.
        environ: what references stand for; None: they are left as they are.
        sources: takes note of what is read.
        text: what to read in place of what the file says.  It may then include only what lies in
            the folder of the file: who sends a text shall not read other files by it.

    Raises:
        SettingsError: one of the files cannot be read, or is no document at all.
    """
    reading = _Reading(environ, sources or Sources(), None if text is None else _folder(path))
    document = reading.file(path, text)
    reading.include(document, path, (path.resolve(),))
    if reading.broken:
        raise SettingsError(reading.broken)
    return document


def _folder(path: Path) -> Path:
    return path.resolve().parent


@attrs.define
class _Reading:
    """Reads one file after the other, each into the first."""

    environ: Mapping[str, str] | None
    sources: Sources
    within: Path | None
    broken: list[Problem] = attrs.field(factory=list)
    """Files that cannot be read: what else is wrong may come from that."""
    seen: set[Path] = attrs.field(factory=set)
    size: int = 0

    def file(self, path: Path, text: str | None = None) -> Document:
        self.seen.add(path.resolve())
        self.sources.note(path)
        if text is None:
            text = read_text(path)
        self.size += len(text)
        return parse(text, str(path), self.environ)

    def include(self, document: Document, path: Path, chain: tuple[Path, ...]) -> None:
        """Put into a document all that it includes, and what those do."""
        if not isinstance(document.data, dict) or KEY not in document.data:
            return
        written, found = document.data.pop(KEY), document.problems
        for at, other, by_name in self.named(written, path, found):
            name = other.resolve()
            if name in chain:
                if by_name:
                    circle = " includes ".join(str(one) for one in (*chain, name))
                    found.add(at, f"goes round in a circle: {circle}")
                continue
            if name in self.seen:
                continue
            if self.within is not None and not name.is_relative_to(self.within):
                found.add(at, f"{other} is outside of {self.within}: only a file may include that")
            elif len(self.seen) >= FILES_MAX or len(chain) >= DEPTH_MAX:
                limit = f"more than {FILES_MAX} files" if len(chain) < DEPTH_MAX else "too deep"
                found.add(at, f"{other} is not read: {limit}")
                return
            else:
                self.one(document, other, at, chain)

    def one(self, whole: Document, other: Path, at: Steps, chain: tuple[Path, ...]) -> None:
        try:
            document = self.file(other)
        except SettingsError as error:
            self.broken += error.problems
            return
        if self.size > ALL_BYTES_MAX:
            said = f"the files are larger than {ALL_BYTES_MAX >> 20} MiB together"
            whole.problems.add(at, said)
            return
        self.include(document, other, (*chain, other.resolve()))
        _merge(whole, document)

    def named(
        self, written: Any, path: Path, found: Problems
    ) -> Iterator[tuple[Steps, Path, bool]]:
        """Yield the files that are included, and whether each was named itself."""
        entries = written if isinstance(written, list) else [written]
        for index, entry in enumerate(entries):
            at: Steps = (KEY, index) if isinstance(written, list) else (KEY,)
            if at in found.marks.filled:
                found.add(at, "the environment has no say in what is included")
                continue
            try:
                other = host_path(word(entry), path.absolute().parent)
            except ValueError as error:
                found.add(at, str(error))
                continue
            if glob.has_magic(str(entry)):
                patterns = [str(other)]
            elif other.is_dir():
                patterns = [f"{glob.escape(str(other))}/{one}" for one in _IN_A_FOLDER]
            else:
                yield at, other, True
                continue
            for match in sorted(name for one in patterns for name in self.sources.matches(one)):
                yield at, Path(match), False


def _merge(whole: Document, part: Document) -> None:
    """Put what a file says into the document of the one that includes it."""
    found, taken = whole.problems, set[Steps]()
    if not isinstance(part.data, dict):
        part.problems.add((), "expected a mapping with `services:`")
    for key, value in part.data.items() if isinstance(part.data, dict) else ():
        if key.startswith("x-") or (key in PARTS and value is None):
            continue
        if key not in PARTS:
            part.problems.add((key,), f"unknown key{near(key, (*PARTS, KEY))}", at_key=True)
            continue
        if not isinstance(value, dict):
            part.problems.add((key,), f"expected a mapping, not {shown(value)}")
            continue
        if whole.data.get(key) is None:
            whole.data[key] = {}
        there = whole.data[key]
        if not isinstance(there, dict):
            continue  # That is told when it is read.
        for name, said in value.items():
            if name in there:
                first = found.marks.problem((key, name), "", at_key=True)
                place = f"{first.file}:{first.line}:{first.column}"
                part.problems.add((key, name), f"given twice, first in {place}", at_key=True)
            else:
                there[name] = said
                taken.add((key, name))
    found.take(part.problems, lambda steps: steps[:2] in taken)


def read_text(path: Path) -> str:
    """Read a file that people wrote.

    Raises:
        SettingsError: it cannot be read, is too large, or is not UTF-8.
    """

    def refuse(message: str, line: int = 1, column: int = 1) -> SettingsError:
        return SettingsError([Problem(str(path), line, column, "", message)])

    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise refuse(f"cannot read the configuration: {why}") from None
    if len(content) > BYTES_MAX:
        raise refuse(f"the file is larger than {BYTES_MAX >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_start = content.rfind(b"\n", 0, error.start) + 1
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse("the file is not UTF-8", line, error.start - line_start + 1) from None
