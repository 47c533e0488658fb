"""Finds `model` at the top of a JSON object that comes in pieces, without keeping them.

Nearly always it stands among the first keys, or after `messages`; whatever is before it is passed
over at the speed of a regular expression, without a value being built.

Two keys `model` are refused.  Servers take the last one (Python, nlohmann's library in llama.cpp),
others the first, those in Go even `Model`: we would send the request to one model's server, and it
would answer by another model.  So the scan goes on to the end while the body passes, and what turns
out to be ambiguous, or no JSON, is refused even then.  Names and punctuation are checked at the top
level; deeper only strings and brackets, which is enough to know where they end.
"""

import json
import re
from collections.abc import Collection
from typing import Literal

from ._edit import Member, Members
from ._model_field import NAME_MAX, BadBody, ModelField, missing_model

DEPTH_MAX = 512
"""llama.cpp's parser has no limit, Python's about a thousand, Go's ten thousand."""
KEY_MAX = 64
"""A longer key is not `model`, even if every letter is escaped."""

KEYS_MAX = 1000
"""At the top, where each costs a step of ours; the longest request of OpenAI's API has 40."""

_SPACE = re.compile(rb"[ \t\r\n]*+")
_CHARACTERS = rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*+'
_TEXT = re.compile(_CHARACTERS)
_FLAT = re.compile(rb'(?:[ \t\r\n,:0-9+\-.eEtrufalsn]++|"%s")*+' % _CHARACTERS)
"""What stands between brackets; a string that ends in a later piece is not among it."""
_SCALAR = re.compile(rb"[0-9+\-.eEtrufalsn]*+")
_SCALARS = re.compile(rb"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
SCALAR_MAX = 1024

_State = Literal["start", "first", "key", "colon", "value", "next", "text", "scalar", "deep", "end"]


def model_in(body: bytes) -> str | None:
    """Return the model that a whole body names: what `JsonModel` finds, in a tenth of the time.

    Raises:
        BadBody: as there.

    >>> model_in(b'{"stream": true, "model": "coder"}')
    'coder'
    """
    try:
        text = body.decode().strip(" \t\r\n")
        request, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise BadBody("invalid_json", not_json(error)) from error
    if end != len(text):
        raise BadBody("invalid_json", "the body is not JSON: something follows its object")
    if not isinstance(request, tuple):
        raise BadBody("invalid_json", "the body must be a JSON object")
    found = None
    if len(request) > KEYS_MAX:
        raise _too_many()
    for key, value in request:
        if len(key) == 5 and key.lower() == "model":
            _check_key(key, first=found is None)
            if not isinstance(value, str) or not value:
                raise missing_model()
            if len(value) > NAME_MAX:
                raise _too_long()
            found = value
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is none")


_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_no_number)
"""An object becomes a tuple of pairs, with all that it says twice; a list stays a list."""


class JsonModel:
    """Reads one body; `feed` it all pieces, then `finish`.

    Args:
        watched: the keys besides `model` whose places are of interest; none may be said twice.
    """

    def __init__(self, watched: Collection[str] = ()) -> None:
        self.found: ModelField | None = None
        self.members = Members()
        """Where the keys stand that are watched."""
        self._watched = watched
        self._member: Member | None = None
        """Whose value is read, or comes next."""
        self._begun_at = 0
        """Where the present key begins."""
        self._ended_at: int | None = None
        """Where the last value ends."""
        self._state: _State = "start"
        self._at = 0
        """How much of the payload was read before the present piece."""
        self._is_key = False
        """What is read, or comes after the colon, is a key; else a value."""
        self._is_model = False
        """The value that is read belongs to `model`."""
        self._escaping = False
        """The last piece ended with a backslash."""
        self._text: bytearray | None = None
        """What was read of a string, if that matters."""
        self._text_at = 0
        self._keys = 0
        self._brackets = bytearray()
        """Those that are open, below the top."""

    def feed(self, piece: bytes) -> None:
        """Read on.

        Raises:
            BadBody: this is no JSON object, or its `model` is no text, or said twice.
        """
        at, end = 0, len(piece)
        while at < end:
            match self._state:
                case "text":
                    at = self._read_text(piece, at)
                case "deep":
                    at = self._read_deep(piece, at)
                case "scalar":
                    at = self._read_scalar(piece, at)
                case _:
                    at = _skip(_SPACE, piece, at)
                    if at < end:
                        at = self._read_mark(piece, at)
        self._at += end

    def finish(self) -> None:
        """Note that the body has ended; without a model, if `found` is None by now.

        Raises:
            BadBody: too early.
        """
        if self._state == "start":
            raise BadBody("invalid_json", "the body is not JSON: it is empty")
        if self._state != "end":
            raise BadBody("invalid_json", "the body is not JSON: it ends within its object")

    def _read_mark(self, piece: bytes, at: int) -> int:
        """Read a character at the top level that is no part of a value, or begins one."""
        mark = piece[at]
        state = self._state
        if state == "value":
            return self._begin_value(piece, at)
        if state in ("first", "key") and mark == 0x22:
            self._begin_text(at + 1, is_key=True)
            self._begin_member(self._at + at)
        elif state == "colon" and mark == 0x3A:
            self._state = "value"
        elif state == "next" and mark == 0x2C:
            self._state = "key"
        elif state in ("first", "next") and mark == 0x7D:
            self._state = "end"
        elif state == "start" and mark == 0x7B:
            self._state = "first"
            self.members.begin = self._at + at + 1
        elif state == "start" and mark in b'["-0123456789tfn':
            raise BadBody("invalid_json", "the body must be a JSON object")
        else:
            raise self._wrong(piece, at)
        return at + 1

    def _begin_value(self, piece: bytes, at: int) -> int:
        mark = piece[at]
        if self._is_model and mark != 0x22:
            raise missing_model()
        if self._member is not None:
            self._member.value = self._at + at
        if mark == 0x22:
            self._begin_text(at + 1, is_key=False)
            return at + 1
        if mark in b"{[":
            self._brackets.append(mark)
            self._state = "deep"
            return at + 1
        self._state = "scalar"
        self._text = bytearray()
        return at

    def _begin_text(self, at: int, *, is_key: bool) -> None:
        self._state = "text"
        self._is_key = is_key
        self._text = bytearray() if is_key or self._is_model else None
        self._text_at = self._at + at

    def _read_text(self, piece: bytes, at: int) -> int:
        start = at
        at = self._skip_text(piece, at)
        if self._text is not None:
            self._text += piece[start:at]
            if len(self._text) > (KEY_MAX if self._is_key else NAME_MAX):
                if not self._is_key:
                    raise _too_long()
                self._text = None
        if at == len(piece):
            return at
        if self._is_key:
            self._end_key()
        else:
            self._end_value(self._at + at)
        return at + 1

    def _end_key(self) -> None:
        self._state = "colon"
        self._keys += 1
        if self._keys > KEYS_MAX:
            raise _too_many()
        key = "" if self._text is None else _decoded(self._text)
        self._is_model = key == "model"
        if key.lower() == "model":
            _check_key(key, first=self.found is None)
        if key in self._watched:
            if key in self.members.found:
                raise BadBody("invalid_json", f"the body has {key!r} twice; say it once")
            self._member = Member(self._begun_at, self._ended_at)
            self.members.found[key] = self._member

    def _begin_member(self, at: int) -> None:
        self.members.is_empty = False
        if self._member is not None:
            self._member.next = at
            self._member = None
        self._begun_at = at

    def _end_member(self, end: int) -> None:
        self._state = "next"
        self._ended_at = end
        if self._member is not None:
            self._member.end = end

    def _end_value(self, end: int) -> None:
        self._end_member(end + 1)
        if self._is_model and self._text is not None:
            name = _decoded(self._text)
            if not name:
                raise missing_model()
            self.found = ModelField(name, self._text_at - 1, end + 1)
        self._is_model = False

    def _skip_text(self, piece: bytes, at: int) -> int:
        """Return where the string ends: at its quote, or at the end of the piece.

        Raises:
            BadBody: there is something in it that must not be.
        """
        if self._escaping:
            if piece[at] not in b'"\\/bfnrtu':
                raise self._wrong(piece, at)
            self._escaping = False
            at += 1
        at = _skip(_TEXT, piece, at)
        if at < len(piece) and piece[at] != 0x22:
            if piece[at] != 0x5C or at + 1 < len(piece):
                raise self._wrong(piece, at)
            self._escaping = True
            at += 1
        return at

    def _read_scalar(self, piece: bytes, at: int) -> int:
        assert self._text is not None
        end = _skip(_SCALAR, piece, at)
        self._text += piece[at:end]
        if len(self._text) > SCALAR_MAX:
            raise self._wrong(piece, at)
        if end < len(piece):
            if not _SCALARS.fullmatch(self._text):
                raise self._wrong(piece, at)
            self._end_member(self._at + end)
        return end

    def _read_deep(self, piece: bytes, at: int) -> int:
        """Pass over what is inside a value, up to its end or the end of the piece."""
        brackets = self._brackets
        end = len(piece)
        while at < end:
            if brackets[-1] == 0x22:
                at = self._skip_text(piece, at)
                if at < end:
                    at += 1
                    brackets.pop()
                continue
            at = _skip(_FLAT, piece, at)
            if at == end:
                break
            mark = piece[at]
            at += 1
            if mark in b'"{[':
                brackets.append(mark)
                if len(brackets) > DEPTH_MAX:
                    raise BadBody("invalid_json", f"the body nests deeper than {DEPTH_MAX}")
            elif mark - brackets[-1] == 2 and mark in b"]}":
                brackets.pop()
                if not brackets:
                    self._end_member(self._at + at)
                    break
            else:
                raise self._wrong(piece, at - 1)
        return at

    def _wrong(self, piece: bytes, at: int) -> BadBody:
        letter = piece[at : at + 1].decode("latin-1")
        return BadBody(
            "invalid_json", f"the body is not JSON: {letter!r} is wrong at byte {self._at + at}"
        )


def _skip(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    found = pattern.match(piece, at)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _decoded(text: bytearray) -> str:
    """Return what a string means.

    Raises:
        BadBody: it is none.
    """
    try:
        meaning: str = json.loads(b'"%s"' % text)
    except ValueError as error:
        raise BadBody("invalid_json", not_json(error)) from error
    return meaning


def not_json(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a body, by the error of `json.loads`, which may speak of Python."""
    match error:
        case UnicodeDecodeError():
            why = f"no UTF-8 at byte {error.start}"
        case RecursionError():
            why = "it nests too deeply"
        case json.JSONDecodeError():
            why = str(error)
        case _:
            why = "a number has too many digits"
    return f"the body is not JSON: {why}"


def _too_many() -> BadBody:
    return BadBody("invalid_json", f"the body has more than {KEYS_MAX} keys at its top")


def _check_key(key: str, *, first: bool) -> None:
    if key != "model":
        raise BadBody("missing_model", f"the body has {key!r}; write `model`")
    if not first:
        raise BadBody("invalid_json", "the body has `model` twice; say it once")


def _too_long() -> BadBody:
    return BadBody("missing_model", f"`model` is longer than {NAME_MAX} bytes")
