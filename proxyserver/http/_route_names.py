"""Finds the route of a path, so that what is counted by route has as many lines as the table."""

import re

from ._routes import TABLE

OTHER = "_other"
"""No path of ours."""
SERVICE = "/service/{id}/{path}"
_EXACT = {entry.path for entry in TABLE if "{" not in entry.path}
_PLACES = {"{id}": r"[^?]+?", "{path}": r"[^?]*"}


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", path)
    return re.compile("".join(_PLACES.get(part) or re.escape(part) for part in parts))


_PATTERNS = tuple(
    (entry.path, _pattern(entry.path))
    for entry in TABLE
    if "{" in entry.path and entry.path != SERVICE
)


def route_of(path: str) -> str:
    """Return the route of a request's path (without its query), in the words of the table."""
    if path in _EXACT:
        return path
    if path.startswith("/service/"):
        return SERVICE
    for route, pattern in _PATTERNS:
        if pattern.fullmatch(path):
            return route
    return OTHER
