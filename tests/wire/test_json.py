"""`model` in JSON: found where json finds it, at every split, and never where servers differ."""

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyserver.wire import BadBody, JsonModel, ModelField, missing_model, model_in
from proxyserver.wire._json import KEYS_MAX

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["model", "models", "mode", "messages", ""]) | st.text(max_size=8)


def scan(body: bytes, sizes: list[int]) -> ModelField:
    scanner = JsonModel()
    at = 0
    for size in [*sizes, len(body)]:
        scanner.feed(body[at : at + size])
        at += size
    scanner.finish()
    if scanner.found is None:
        raise missing_model()
    return scanner.found


def whole(body: bytes) -> str:
    found = model_in(body)
    if found is None:
        raise missing_model()
    return found


@given(
    st.dictionaries(KEYS, VALUES, max_size=5),
    st.text(min_size=1, max_size=10),
    st.booleans(),
    st.sampled_from([None, 2]),
    st.lists(st.integers(1, 9), max_size=60),
)
@settings(max_examples=400)
def test_json_and_we_find_the_same_model(
    others: dict[str, Any], model: str, ascii_: bool, indent: int | None, sizes: list[int]
) -> None:
    """With escapes, nested ones of the same name, in any pieces; its place is its text's."""
    request = {key: value for key, value in others.items() if key.lower() != "model"}
    request = {**request, "nested": {"model": "no", "list": [{"model": "no"}]}, "model": model}
    body = json.dumps(request, ensure_ascii=ascii_, indent=indent).encode("utf-8", "surrogatepass")
    try:
        json.loads(body)
    except UnicodeDecodeError:  # A surrogate alone, unescaped.
        return
    found = scan(body, sizes)
    assert found.name == model_in(body) == json.loads(body)["model"] == model
    assert json.loads(body[found.start : found.end]) == model
    renamed = body[: found.start] + b'"other"' + body[found.end :]
    assert json.loads(renamed) == {**request, "model": "other"}


@given(st.binary(max_size=30) | st.text('{}[]",:model\\u0 ', max_size=40).map(str.encode))
@settings(max_examples=500)
def test_what_json_takes_for_no_object_with_a_model_has_none(body: bytes) -> None:
    """Never a model where Python would find none, or another."""
    try:
        found = scan(body, [])
    except BadBody:
        with pytest.raises(BadBody):
            whole(body)
        return
    try:
        read = whole(body)
    except BadBody:
        return  # Below the top level only brackets count; a server will refuse it.
    assert read == found.name == json.loads(body)["model"]


BODY = (
    rb'{ "a\"\\" : [1, {"model": "x"}, "]}"], "mo\u0064el":"c\u00e9\"der", "n": -1.5e3, "t": true }'
)


def test_every_split_gives_the_same() -> None:
    """In two pieces, wherever they part, and byte by byte."""
    whole = scan(BODY, [])
    assert whole.name == 'cé"der'
    assert scan(BODY, [1] * len(BODY)) == whole
    for split in range(len(BODY)):
        assert scan(BODY, [split]) == whole


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"   ", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"model"', "invalid_json"),
        (b"{}", "missing_model"),
        (b'{"model": 3}', "missing_model"),
        (b'{"model": null}', "missing_model"),
        (b'{"model": ["x"]}', "missing_model"),
        (b'{"model": ""}', "missing_model"),
        (b'{"Model": "x"}', "missing_model"),
        (b'{"model": "%s"}' % (b"x" * 5000), "missing_model"),
        (b'{"model": "x"', "invalid_json"),
        (b'{"model": "x"} x', "invalid_json"),
        (b'{"model": "x"}{"model": "y"}', "invalid_json"),
        (b'{"model": "x",}', "invalid_json"),
        (b'{"model" "x"}', "invalid_json"),
        (b'{model: "x"}', "invalid_json"),
        (b"{'model': 'x'}", "invalid_json"),
        (b'{"model": "x", "model": "y"}', "invalid_json"),
        (b'{"model": "x", "mod\\u0065l": "x"}', "invalid_json"),
        (b'{"model": "x", "MODEL": "y"}', "missing_model"),
        (b'{"a": tru, "model": "x"}', "invalid_json"),
        (b'{"a": 01, "model": "x"}', "invalid_json"),
        (b'{"a": [}, "model": "x"}', "invalid_json"),
        (b'{"a": [/*"*/], "model": "x"}', "invalid_json"),
        (b'/* */{"model": "x"}', "invalid_json"),
        (b'\xef\xbb\xbf{"model": "x"}', "invalid_json"),
        ('{"model": "x"}'.encode("utf-16"), "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b'{"model": "a\nb"}', "invalid_json"),
        (b'{"model": "a\\x"}', "invalid_json"),
        (b'{"model": "\\u12"}', "invalid_json"),
        (b'{"a": ' + b"[" * 100_000, "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a": ' + b"9" * 10_000, "invalid_json"),
    ],
)
def test_what_is_not_clear_is_refused(body: bytes, code: str) -> None:
    """Whole or byte by byte, with the same code."""
    for sizes in ([], [1] * min(len(body), 600)):
        with pytest.raises(BadBody) as refused:
            scan(body, sizes)
        assert refused.value.code == code
    with pytest.raises(BadBody) as refused:
        whole(body)
    assert refused.value.code == code or len(body) > 1000


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model": "\xff"}', "no UTF-8 at byte 11"),
        (b'{"a": ' + b"[" * 100_000, "it nests too deeply"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "a number has too many digits"),
        (b'{"model" "x"}', "Expecting ':' delimiter: line 1 column 10"),
    ],
)
def test_it_is_said_what_is_no_json(body: bytes, why: str) -> None:
    """In words of JSON, not of Python."""
    with pytest.raises(BadBody) as refused:
        whole(body)
    assert str(refused.value).startswith(f"the body is not JSON: {why}")


def test_so_many_keys_are_none_of_a_request() -> None:
    """Each takes a step of ours, so that a body of nothing else would keep the others waiting."""
    body = b'{"model": "x"%s}' % b"".join(b', "k%d": 1' % number for number in range(KEYS_MAX - 1))
    assert scan(body, []).name == model_in(body) == "x"
    body = body[:-1] + b', "more": 1}'
    for read in (partial(scan, body, []), partial(model_in, body)):
        with pytest.raises(BadBody, match="more than 1000 keys"):
            read()


def test_a_model_is_known_before_the_rest_has_come() -> None:
    """That is what it is for."""
    scanner = JsonModel()
    scanner.feed(b'{"model": "x", "messages": [')
    assert scanner.found == ModelField("x", 10, 13)
