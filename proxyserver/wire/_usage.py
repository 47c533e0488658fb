"""Reads how many tokens an answer took, from its last bytes, once it is over."""

import json
import re
from typing import Any

import attrs

TAIL_MAX = 4 * 1024
"""The event (or the object) with the figures is the last but one, and some 500 bytes long."""
_FRAMES = re.compile(rb"\r\n[0-9a-fA-F]{1,15}(?:;[^\r\n]*)?\r\n")
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')


@attrs.frozen
class Usage:
    """Tokens, as the server counted them."""

    input: int
    output: int


class Tail:
    """The last bytes of an answer that passes; cheap for each piece."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, piece: bytes) -> None:
        """Take note of the next piece, framed or not."""
        size = len(piece)
        self._bytes = piece[-TAIL_MAX:] if size >= TAIL_MAX else (self._bytes + piece)[-TAIL_MAX:]

    def usage(self) -> Usage | None:
        """Return the last figures in it; None: there are none.

        >>> tail = Tail()
        >>> tail.add(b'data: {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}')
        >>> tail.usage()
        Usage(input=7, output=2)
        """
        # The frames of chunks may stand within an event; no JSON has a bare newline in a text.
        text = _FRAMES.sub(b"", self._bytes)
        for found in reversed([*_USAGE.finditer(text)]):
            try:
                figures, _ = _DECODER.raw_decode(text[found.end() :].decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            return _read(figures)
        return None


_DECODER = json.JSONDecoder()


def _read(figures: Any) -> Usage | None:
    """Return the figures, by OpenAI's names or Anthropic's."""
    counts = []
    for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        count = next((figures[name] for name in names if name in figures), 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return None
        counts.append(count)
    return Usage(*counts)
