"""Sizes in bytes and durations in seconds, as people write them."""

import math
import re
from decimal import Decimal

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?(?:([KMGT]?)(B|iB)?)", re.IGNORECASE | re.ASCII)
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_PART = re.compile(rf"({_NUMBER}) ?(ms|s|m|h|d)?", re.ASCII)
_DURATION = re.compile(rf"{_NUMBER}|(?:{_NUMBER} ?(?:ms|s|m|h|d)){{1,5}}", re.ASCII)
_DURATION_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_MAX = 1 << 60
_DURATION_MAX_S = 366 * 86400.0


def size(value: object) -> int:
    """Read a size: `24GiB`, `512 MiB`, `16G`, or a plain number of bytes.

    A bare `G` is a GiB, as docker has it, and `GB` is 10^9 bytes, as makers of disks have it.

    Raises:
        ValueError: it is no size, or one of no machine.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        number, prefix, suffix = match.groups()
        base = 1000 if prefix and (suffix or "").upper() == "B" else 1024
        result = int(Decimal(number) * base ** (" KMGT".index(prefix.upper()) if prefix else 0))
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        result = int(value)
    else:
        raise ValueError(f"expected a size such as 24GiB or 512 MiB, not {shown(value)}")
    if result > _SIZE_MAX:
        raise ValueError(f"{shown(value)} is more memory than there is")
    return result


def seconds(value: object) -> float:
    """Read a duration: a number of seconds, or `500ms`, `30s`, `5m`, `2h`, `1d`, `1m30s`.

    Raises:
        ValueError: it is no duration, not more than 0, or longer than a year.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        parts = _PART.findall(match[0])
        result = sum(float(number) * _DURATION_S[unit or None] for number, unit in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
        # A huge int does not fit a float; the bounds are checked below all the same.
        result = float(max(0, min(value, 2 * _DURATION_MAX_S)))
    else:
        raise ValueError(f"expected seconds, or a duration such as 30s or 5m, not {shown(value)}")
    if not 0 < result <= _DURATION_MAX_S:
        raise ValueError(f"a duration is more than 0 and at most a year, not {shown(value)}")
    return result


def shown(value: object) -> str:
    """Write a value as the file has it, shortened, for a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return repr(value if len(value) <= 40 else value[:37] + "...")
    return str(getattr(value, "text", value))[:40]
