"""`model` in a form: found at every split, and never where servers differ."""

import pytest

from proxyserver.wire import BadBody, FormModel, ModelField, boundary_of
from proxyserver.wire._multipart import PARTS_MAX

FORM = (
    b'--b-1\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n'
    b"Content-Type: audio/wav\r\n\r\n\r\n--b-\r\n\r\n--b-x\0\xff\r\n"
    b"--b-1\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper\r\n"
    b'--b-1\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n--b-1--\r\nepilogue'
)


def part(name: bytes, value: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n" % (name, value)


def scan(body: bytes, sizes: list[int], boundary: bytes = b"b") -> ModelField:
    scanner = FormModel(boundary)
    at = 0
    for size in [*sizes, len(body)]:
        scanner.feed(body[at : at + size])
        at += size
    scanner.finish()
    assert scanner.found is not None
    return scanner.found


def test_every_split_gives_the_same() -> None:
    """In two pieces, wherever they part, and byte by byte; the place is that of the value."""
    whole = scan(FORM, [], b"b-1")
    assert whole.name == "whisper"
    assert FORM[whole.start : whole.end] == b"whisper"
    assert scan(FORM, [1] * len(FORM), b"b-1") == whole
    for split in range(len(FORM)):
        assert scan(FORM, [split], b"b-1") == whole


def test_a_large_file_is_not_kept() -> None:
    """Only as much as a boundary could begin with."""
    scanner = FormModel(b"b")
    scanner.feed(b"--b\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\n")
    for _ in range(10):
        scanner.feed(bytes(100_000))
    assert len(scanner._data) < 100


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_form"),
        (part(b"model", b"x"), "invalid_form"),
        (part(b"model", b"") + b"--b--", "missing_model"),
        (part(b"model", b"\xff") + b"--b--", "missing_model"),
        (part(b"model", b"x" * 9000) + b"--b--", "missing_model"),
        (part(b"model", b"x") + part(b"model", b"y") + b"--b--", "invalid_form"),
        (part(b'"model"; name="other"', b"x") + b"--b--", "invalid_form"),
        (part(b"\"model\"; name*=UTF-8''other", b"x") + b"--b--", "invalid_form"),
        (part(b'"mo\\del"', b"x") + b"--b--", "invalid_form"),
        (b"--b\r\nX: y\r\n\r\nx\r\n--b--", "invalid_form"),
        (b"--b\r\nX: " + b"y" * 9000, "invalid_form"),
        (b"--bc\r\n", "invalid_form"),
    ],
)
def test_what_is_not_clear_is_refused(body: bytes, code: str) -> None:
    """Whole or byte by byte, with the same code."""
    for sizes in ([], [1] * len(body)):
        with pytest.raises(BadBody) as refused:
            scan(body, sizes)
        assert refused.value.code == code


def test_so_many_parts_are_none_of_a_request() -> None:
    """Each takes a step of ours, so that a form of nothing else would keep the others waiting."""
    form = part(b"model", b"x") + part(b"other", b"y") * (PARTS_MAX - 1)
    assert scan(form + b"--b--", []).name == "x"
    with pytest.raises(BadBody, match="more than 1000 parts"):
        scan(form + part(b"other", b"y") + b"--b--", [])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=utf-8; BOUNDARY="a b"', b"a b"),
        (b"application/json", None),
        (b"", None),
    ],
)
def test_the_boundary_is_read(content_type: bytes, boundary: bytes | None) -> None:
    """Quoted or not, among other parameters."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=a; boundary=b",
        b"multipart/form-data; boundary=" + b"a" * 71,
        b'multipart/form-data; x="; boundary=a',
    ],
)
def test_a_boundary_that_is_not_clear_is_refused(content_type: bytes) -> None:
    """None, two, one that is too long, one within a quotation."""
    with pytest.raises(BadBody):
        boundary_of(content_type)
