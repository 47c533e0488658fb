"""Bodies of 100 MB that no server may take, by how they begin and what is repeated then."""

from collections.abc import Iterator

import attrs

MIB = 1024 * 1024
MIB_EACH = 100


@attrs.frozen
class Bomb:
    """One such body, and the code of the error that refuses it."""

    code: str
    start: bytes
    piece: bytes
    kind: str = "application/json"

    def pieces(self) -> Iterator[bytes]:
        yield self.start
        block = self.piece * (MIB // len(self.piece))
        for _ in range(MIB_EACH):
            yield block


FORM = "multipart/form-data; boundary=X"
FIELD = b"--X\r\nContent-Disposition: form-data; name="
BOMBS = {
    "nested arrays": Bomb("invalid_json", b"", b"["),
    "nested arrays in an object": Bomb("invalid_json", b'{"a": ', b"["),
    "nested arrays behind the model": Bomb("invalid_json", b'{"model": "coder", "a": ', b"["),
    "nested objects": Bomb("invalid_json", b'{"a": ', b'{"a":'),
    "keys": Bomb("invalid_json", b'{"a": 1', b',"a":1'),
    "digits": Bomb("invalid_json", b'{"a": ', b"9"),
    "a model of 100 MB": Bomb("missing_model", b'{"model": "', b"a"),
    "no text": Bomb("invalid_json", b'{"a": 1, \xff', b"\xff"),
    "a form without an end of its head": Bomb("invalid_form", b"--X\r\n", b"A", FORM),
    "a form of a million parts": Bomb("invalid_form", b"", FIELD + b"a\r\n\r\n1\r\n", FORM),
    "a form with a model of 100 MB": Bomb("missing_model", FIELD + b"model\r\n\r\n", b"a", FORM),
}
