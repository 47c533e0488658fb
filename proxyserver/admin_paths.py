"""Which requests administer a server, and so are no client's business unless allowed; pure.

What a server will make of a target is not known to the last character: some decode it, some join
slashes or resolve dots, koboldcpp looks at the end of the whole target alone, ComfyUI has each path
twice, others are told a prefix.  So a target is read in every one of these ways, and one reading
that ends as a pattern says is enough to close it: a path too many can be allowed by name, while
one too few ends somebody's run.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import unquote

_PATTERN = re.compile(r"(?:([A-Z]+) )?(?:/[!-~]*[!-.0-~][!-~]*|\?[!-~]+)")
DECODINGS = 3
"""A server decodes once; one behind another proxy, twice."""
_SEPARATORS = re.compile(r"[/\\]")
_QUERY = re.compile(r"[?#]")
_PARTS = re.compile(r"[&;]")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern: `/sleep`, `POST /api/pull`, `/api/admin/*`, `?autoload`.

    >>> is_pattern("POST /api/pull"), is_pattern("?autoload"), is_pattern("sleep"), is_pattern("/")
    (True, True, False, False)
    """
    return _PATTERN.fullmatch(text) is not None


def closed_by(patterns: Iterable[str], method: str, target: bytes) -> str | None:
    """Return the pattern that closes a request's way to its server; None: it may pass.

    A pattern is a path, which closes all paths that end with it; `*` stands for anything within one
    segment, and alone as the last one for all that follows.  A method before it closes that one
    alone.  `?name` closes every request that has this parameter in its query.

    Args:
        patterns: of the server.
        method: of the request.
        target: path and query, as the server will be sent them.

    >>> closed_by(["/sleep", "DELETE /api/ps/*"], "POST", b"/x/..//%73leep/?level=1")
    '/sleep'
    >>> closed_by(["/sleep", "DELETE /api/ps/*"], "GET", b"/api/ps/a/b")
    """
    readings = [*_readings(target)]
    names = {*_names(target)}
    for pattern in patterns:
        verb, separator, what = pattern.rpartition(" ")
        if separator and verb != method.upper():
            continue
        what = what.lower()
        if what[:1] == "?":
            if what[1:] in names:
                return pattern
        elif any(_ends_as(reading, what.split("/")[1:]) for reading in readings):
            return pattern
    return None


def _decoded(target: bytes) -> Iterator[str]:
    text = target.decode("latin-1")
    yield text
    for _ in range(DECODINGS):
        text = unquote(text, "latin-1")
        yield text


def _readings(target: bytes) -> Iterator[list[str]]:
    """Yield the segments of a target, in each way in which a server might find them."""
    for text in dict.fromkeys(_decoded(target)):
        for path in (text, _QUERY.split(text, maxsplit=1)[0]):
            segments = [
                _UNSEEN.sub("", part.partition(";")[0]).lower() for part in _SEPARATORS.split(path)
            ]
            segments = [part for part in segments if part not in ("", ".")]
            yield segments
            resolved: list[str] = []
            for part in segments:
                if part != "..":
                    resolved.append(part)
                elif resolved:
                    resolved.pop()
            yield resolved


def _names(target: bytes) -> Iterator[str]:
    """Yield the names of the parameters in a query."""
    for part in _PARTS.split(target.decode("latin-1").partition("?")[2]):
        yield unquote(part.partition("=")[0].replace("+", " "), "latin-1").strip().lower()


def _ends_as(segments: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == "*":
        fixed = pattern[:-1]
        starts: Iterable[int] = range(len(segments) - len(fixed))
    else:
        fixed = pattern
        starts = range(len(segments) - len(fixed), len(segments) - len(fixed) + 1)
    return any(
        start >= 0 and all(map(fnmatchcase, segments[start : start + len(fixed)], fixed))
        for start in starts
    )
