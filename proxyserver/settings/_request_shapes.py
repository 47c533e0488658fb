"""Reads the values by which requests are changed: keys of JSON bodies, headers."""

import json
import re
from typing import Any

from proxyserver.wire import HOP_BY_HOP, KEY_MAX, OURS

from ._plain import mapping, text_of, word
from ._units import shown

_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,128}")
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")


def json_values(value: Any) -> dict[str, str]:
    result = {}
    for key, one in mapping(value).items():
        if len(key) > KEY_MAX:
            raise ValueError(f"{shown(key)} is longer than {KEY_MAX} letters")
        try:
            result[key] = json.dumps(one, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key!r} cannot be said as JSON: {error}") from None
    return result


def header_name(value: Any) -> str:
    text = text_of(value).lower()
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{shown(text)} is no name of a header")
    if text.encode() in HOP_BY_HOP | OURS:
        raise ValueError(f"{text!r} is the proxy's own, which decides what the service sees of it")
    return text


def headers(value: Any) -> dict[str, str]:
    result = {}
    for key, one in mapping(value).items():
        said = word(one)
        if not _HEADER_VALUE.fullmatch(said):
            # Not shown: it may be a secret.
            raise ValueError(f"the value of {key!r} has other than visible ASCII characters")
        result[header_name(key)] = said
    return result
