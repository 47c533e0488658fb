"""Plain values of a file: what is a text, a number, a flag, a list, a path, and what is not.

A value is what it says it is: "5" is no number, and `no` is no flag.
"""

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._errors import near
from ._units import shown


def host_path(text: str, base: Path) -> Path:
    """Make a path absolute; `~` is the home of who runs the daemon.

    Raises:
        ValueError: it is empty, or names a home that is unknown.
    """
    if not text or "\0" in text:
        raise ValueError(f"expected a path, not {shown(text)}")
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text!r}: {error}") from None


def mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a mapping, not {shown(value)}")
    return value


def a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {shown(value)}")
    return value


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {shown(value)} (quote it if you mean it)")
    return value


def word(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(getattr(value, "text", value))
    return text_of(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {shown(value)}")
    return value


def whole(value: Any, least: int | None, most: int | None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, not {shown(value)}")
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise ValueError(f"expected a whole number {bounds}, not {shown(value)}")
    return int(value)


def number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"expected a number, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{shown(value)} is too large") from None


def one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        # A flag is no number, though Python thinks so; a number of a file knows its text.
        alike = isinstance(value, bool) == isinstance(choice, bool)
        if alike and isinstance(value, type(choice)) and value == choice:
            return choice
    words = [shown(choice) if isinstance(choice, bool) else str(choice) for choice in choices]
    hint = near(value, words) if isinstance(value, str) else ""
    raise ValueError(f"expected {' or '.join(words)}, not {shown(value)}{hint}")


def command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ValueError(f"cannot split the command into words: {error}") from None
    if not isinstance(value, list):
        raise ValueError(f"expected a command as a list of words or a text, not {shown(value)}")
    return tuple(word(one) for one in value)


def share(value: Any) -> float:
    part = number(value)
    if not 0 < part <= 1:
        raise ValueError(f"expected a number above 0 and up to 1, not {shown(value)}")
    return part


def url(value: Any) -> str:
    """Read the address of a server."""
    text = text_of(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"expected http://host:port or https://host, not {shown(text)}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("the address may have a path, but no query, fragment or user")
    return text
