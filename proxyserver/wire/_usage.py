"""Reads what a server tells of its answer (tokens, times, why it ended), once it is over."""

import json
import re
from collections import deque
from typing import Any

import attrs

TAIL_MAX = 4 * 1024
"""The event (or the object) with the figures is the last but one, and some 500 bytes long."""
PIECES_MAX = 16
"""Servers write an event at a time, or halves; more is there if it comes in small pieces."""
FIRST_MAX = 2 * 1024
"""Anthropic counts the prompt in the first event; embeddings of llama.cpp begin with figures."""
_FRAMES = re.compile(rb"\r\n[0-9a-fA-F]{1,15}(?:;[^\r\n]*)?\r\n")
_OPENING = re.compile(rb"\s*:\s*(?=\{)")
_TEXT = re.compile(rb'\s*:\s*"([^"\\]{1,256})"')
_INTEGER = re.compile(rb"\s*:\s*(\d{1,15})\b")
_CACHED = ("cached_tokens", "cache_read_input_tokens")


@attrs.frozen
class Usage:
    """What is known of an answer; None: nobody said."""

    input: int | None = None
    """Tokens of the prompt, with those that were cached."""
    output: int | None = None
    cached: int | None = None
    """Tokens of the prompt that need not be read again."""
    prompt_s: float | None = None
    """How long the server read."""
    output_s: float | None = None
    """How long it wrote."""
    model: str | None = None
    """What the server calls it."""
    finish: str | None = None
    """Why the answer ended, by the server's word: `stop`, `length`."""
    counted: bool = False
    """The server did not say how many tokens came out; pieces of the stream were counted."""


class Tail:
    """The ends of an answer that passes; cheap for each piece."""

    def __init__(self) -> None:
        self.first = b""
        """How it began; empty: it has not."""
        self._last: deque[bytes] = deque(maxlen=PIECES_MAX)
        self.append = self._last.append
        """What `add` does with a piece of up to `TAIL_MAX` bytes that is not the first: without a
        function of ours, because each token of each stream needs it."""

    def add(self, piece: memoryview) -> None:
        """Take note of the next piece, framed or not."""
        if not self.first:
            self.first = piece[:FIRST_MAX].tobytes()
        self.append(piece[-TAIL_MAX:].tobytes())

    def ending(self) -> bytes:
        """Return the last bytes."""
        last = self._last
        return last[0] if len(last) == 1 else b"".join(last)[-TAIL_MAX:]

    def usage(self, pieces: int = 0) -> Usage:
        """Return what the answer says of itself.

        Args:
            pieces: How many there were, where each is a token (nearly): they stand for the figure
                if there is none.

        >>> tail = Tail()
        >>> tail.add(memoryview(b'{"usage": {"prompt_tokens": 7, "completion_tokens": 2}}'))
        >>> usage = tail.usage()
        >>> usage.input, usage.output
        (7, 2)
        """
        last = _unframed(self.ending())
        # How it began is no part of its end only where the end is not all there is.
        whole = len(self._last) == 1 and len(self._last[0]) <= FIRST_MAX
        first = b"" if whole else _unframed(self.first)
        usage = _object(last, b'"usage"')
        if first and b'"usage"' in first:
            usage = {**_object(first, b'"usage"'), **usage}
        input_ = _count(usage, "prompt_tokens", "input_tokens")
        output = _count(usage, "completion_tokens", "output_tokens")
        cached = prompt_s = output_s = None
        if usage:
            details = usage.get("prompt_tokens_details")
            cached = _count(details if isinstance(details, dict) else usage, *_CACHED)
        if b'"timings"' in last:  # llama.cpp
            times = _object(last, b'"timings"')
            prompt_s, output_s = _seconds(times, "prompt_ms"), _seconds(times, "predicted_ms")
            read, kept = _count(times, "prompt_n"), _count(times, "cache_n")
            cached = kept if cached is None else cached
            if input_ is None and read is not None:
                input_ = read + (kept or 0)
            output = _count(times, "predicted_n") if output is None else output
        elif b'"eval_count"' in last:  # Ollama
            input_ = _integer(last, b'"prompt_eval_count"')
            output = _integer(last, b'"eval_count"')
            prompt_s = _nanoseconds(last, b'"prompt_eval_duration"')
            output_s = _nanoseconds(last, b'"eval_duration"')
        counted = output is None and pieces > 0
        if counted:
            output = pieces - (b"[DONE]" in last)
        finish = _text(last, b'_reason"')  # Of a finish, a stop, or being done.
        model = _text(last, b'"model"') or _text(first, b'"model"')
        return Usage(input_, output, cached, prompt_s, output_s, model, finish, counted)


def _unframed(text: bytes) -> bytes:
    """Take out the frames of chunks, which may stand within an event.

    No text in JSON has a bare newline.
    """
    return _FRAMES.sub(b"", text) if b"\r\n" in text else text


_DECODER = json.JSONDecoder()


def _object(text: bytes, key: bytes) -> dict[str, Any]:
    """Return the last object of this name.

    What a model wrote is none: within a text, the quotes of a name have backslashes.
    """
    end = len(text)
    while (at := text.rfind(key, 0, end)) >= 0:
        end = at
        opening = _OPENING.match(text, at + len(key))
        if opening is None:
            continue
        try:
            read, _ = _DECODER.raw_decode(text[opening.end() :].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(read, dict):
            return read
    return {}


def _value(text: bytes, key: bytes, value: re.Pattern[bytes]) -> bytes | None:
    """Return the last value of this name that is of this kind."""
    end = len(text)
    while (at := text.rfind(key, 0, end)) >= 0:
        if (found := value.match(text, at + len(key))) is not None:
            return found[1]
        end = at
    return None


def _text(text: bytes, key: bytes) -> str | None:
    found = _value(text, key, _TEXT)
    return None if found is None else found.decode("utf-8", "replace")


def _integer(text: bytes, key: bytes) -> int | None:
    found = _value(text, key, _INTEGER)
    return None if found is None else int(found)


def _nanoseconds(text: bytes, key: bytes) -> float | None:
    found = _integer(text, key)
    return None if found is None else found / 1e9


def _count(figures: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = figures.get(name)
        if type(value) is int and value >= 0:
            return value
    return None


def _seconds(figures: dict[str, Any], name: str) -> float | None:
    value = figures.get(name)
    if isinstance(value, (int, float)) and value >= 0:
        return value / 1000
    return None
