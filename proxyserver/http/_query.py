"""What a request says in its query, read and checked."""

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from .errors import ApiError

Parsed = TypeVar("Parsed")
Default = TypeVar("Default")


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    flags = {"1": True, "true": True, "0": False, "false": False}
    return parsed(request, name, default, flags.__getitem__, "true or false")


def parsed(
    request: Request,
    name: str,
    default: Default,
    parse: Callable[[str], Parsed],
    wanted: str,
) -> Parsed | Default:
    """Return a value of the query.

    Args:
        request: whose.
        name: which.
        default: what it is when nobody says it.
        parse: reads it.
        wanted: what it must be, in words.

    Raises:
        ApiError: it is something else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return parse(text)
    except (KeyError, ValueError):
        raise ApiError(
            400, "invalid_request", f"`{name}` must be {wanted}, not {text!r}", param=name
        ) from None
