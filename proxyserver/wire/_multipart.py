"""Finds `model` in a form (`multipart/form-data`) that comes in pieces, without keeping them."""

import re

from ._model_field import NAME_MAX, BadBody, ModelField

BOUNDARY_MAX = 70
"""RFC 2046, 5.1.1."""
PART_HEAD_MAX = 8 * 1024
PARTS_MAX = 1000
"""Each costs a step of ours; Django and Starlette take as many."""
_BOUNDARY = re.compile(
    rb"multipart/form-data[ \t]*(?:;[ \t]*[!#-~]+=(?:[!#-:<-~]+|\"[^\"\\]*\")[ \t]*)*", re.I
)
_PARAMETER = re.compile(rb";[ \t]*([!#-<>-~]+)=(?:([!#-:<-~]+)|\"([^\"\\]*)\")")
_DISPOSITION = re.compile(
    rb"(?:\A|\r\n)content-disposition:[ \t]*form-data((?:[ \t]*;[ \t]*[a-z*]+="
    rb"(?:[!#-:<-~]+|\"(?:[^\"\\\r\n]|\\.)*\"))*)[ \t]*(?=\r\n|\Z)",
    re.I,
)
_NAME = re.compile(rb";[ \t]*(name\*?|filename\*?)=(?:([!#-:<-~]+)|\"((?:[^\"\\]|\\.)*)\")", re.I)


def boundary_of(content_type: bytes) -> bytes | None:
    """Return what separates the parts of a form; None: this is no form.

    Raises:
        BadBody: it is a form without a boundary.

    >>> boundary_of(b'multipart/form-data; boundary="x y"')
    b'x y'
    """
    if content_type[:19].lower() != b"multipart/form-data":
        return None
    found = []
    if _BOUNDARY.fullmatch(content_type):
        found = [
            value or quoted
            for name, value, quoted in _PARAMETER.findall(content_type)
            if name.lower() == b"boundary"
        ]
    if len(found) != 1 or not 0 < len(found[0]) <= BOUNDARY_MAX:
        raise BadBody("invalid_form", "the form's Content-Type has no (single, valid) boundary")
    return bytes(found[0])


class FormModel:
    """Reads one form; `feed` it all pieces, then `finish`."""

    def __init__(self, boundary: bytes) -> None:
        self.found: ModelField | None = None
        self._mark = b"\r\n--" + boundary
        self._data = b"\r\n"  # The first boundary may be the first line.
        self._at = -2
        """Where in the payload `_data` begins."""
        self._value_at = 0
        self._inside: bool | None = None
        """Within the value of `model`; None: within a part's head, or before the first part."""
        self._begun = False
        self._parts = 0
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """Read on.

        Raises:
            BadBody: this is no such form, or it says `model` twice, or badly.
        """
        if self._ended:
            return  # RFC 2046 lets anything follow, and everybody ignores it.
        self._data += piece
        while self._step():
            pass

    def finish(self) -> None:
        """Note that the body has ended; without a model, if `found` is None by now.

        Raises:
            BadBody: too early.
        """
        if not self._ended:
            raise BadBody("invalid_form", "the form has no end: its last boundary is missing")

    def _step(self) -> bool:
        if self._ended:
            return False
        if self._begun and self._inside is None:
            return self._read_part_head()
        found = self._data.find(self._mark)
        after = found + len(self._mark)
        if found < 0 or len(self._data) < after + 2:
            self._keep_tail(found)
            return False
        if self._inside:
            self._end_value(found)
        ending = self._data[after : after + 2]
        if ending == b"--":
            self._ended = True
            return False
        if ending != b"\r\n":
            raise BadBody("invalid_form", "the form has a boundary with something behind it")
        self._drop(after)
        self._begun, self._inside = True, None
        return True

    def _read_part_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n", 0, PART_HEAD_MAX)
        if end < 0:
            if len(self._data) >= PART_HEAD_MAX:
                raise BadBody("invalid_form", "a part of the form has a head that is too large")
            return False
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise BadBody("invalid_form", f"the form has more than {PARTS_MAX} parts")
        self._inside = _is_model(self._data[:end])
        if self._inside and self.found is not None:
            raise BadBody("invalid_form", "the form has `model` twice; say it once")
        # The newline before the boundary may be this one, of an empty value.
        self._drop(end + 2)
        if self._inside:
            self._value_at = self._at + 2
        return True

    def _end_value(self, end: int) -> None:
        start = self._value_at - self._at
        value = self._data[start:end] if end >= start else b""
        try:
            name = value.decode()
        except UnicodeDecodeError as error:
            raise BadBody("missing_model", "the form's `model` is no UTF-8") from error
        if not name:
            raise BadBody("missing_model", "the form's `model` is empty")
        if len(value) > NAME_MAX:
            raise BadBody("missing_model", f"`model` is longer than {NAME_MAX} bytes")
        self.found = ModelField(name, self._value_at, self._value_at + len(value))

    def _keep_tail(self, found: int) -> None:
        """Drop what can be no part of a boundary, unless it is the value that is looked for."""
        if self._inside:
            if len(self._data) > NAME_MAX:
                raise BadBody("missing_model", f"`model` is longer than {NAME_MAX} bytes")
        elif found >= 0:
            self._drop(found)
        else:
            self._drop(max(0, len(self._data) - len(self._mark) + 1))

    def _drop(self, size: int) -> None:
        self._data = self._data[size:]
        self._at += size


def _is_model(head: bytes) -> bool:
    """Tell whether a part is the field `model`.

    Raises:
        BadBody: it has no name, or several: servers would differ.
    """
    found = _DISPOSITION.findall(head.removeprefix(b"\r\n"))
    if len(found) != 1:
        raise BadBody("invalid_form", "a part of the form has no (single, valid) name")
    parameters = [
        (name.lower(), plain or quoted) for name, plain, quoted in _NAME.findall(found[0])
    ]
    names = [value for name, value in parameters if name.startswith(b"name")]
    if len(names) != 1 or b"\\" in names[0]:
        raise BadBody("invalid_form", "a part of the form has no (single, plain) name")
    return names[0] == b"model" and len(parameters) == 1
