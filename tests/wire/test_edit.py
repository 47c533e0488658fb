"""A body is changed where somebody wants it, and nowhere else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyserver.wire import BadBody, Change, JsonModel, changes, edited

KEYS = ("a", "b", "c", "d", "e")
NUMBERS = st.sampled_from(["1", "1.0", "1e0", "-0.10", "100000000000000000001"])
VALUES = NUMBERS | st.sampled_from(['"x"', '"\\u00e9,}"', "[1, {}]", '{"a": [2]}', "null", "true"])
BLANK = st.sampled_from(["", " ", "\n\t"])


def change(body: bytes, wanted: Change, size: int = 1 << 20) -> bytes:
    """Return what becomes of a body that comes in pieces of this size."""
    scan = JsonModel(wanted.keys)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    for piece in pieces:
        scan.feed(piece)
    scan.finish()
    edits = changes(scan.members, wanted)
    assert len(body) + sum(edit.growth for edit in edits) == len(edited(body, 0, edits))
    return b"".join(edited(piece, number * size, edits) for number, piece in enumerate(pieces))


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), VALUES, BLANK), unique_by=lambda one: one[0]),
    BLANK,
    st.lists(st.sampled_from([*KEYS, "z"]), unique=True),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
    st.integers(1, 50),
)
@settings(max_examples=400)
def test_a_change_is_what_python_would_make_of_it(
    members: list[tuple[str, str, str]], edge: str, named: list[str], kinds: list[int], size: int
) -> None:
    """Whichever keys are there, in whatever order and pieces; the others keep their bytes."""
    inside = ",".join(f'{blank}"{key}"{blank}:{blank}{value}' for key, value, blank in members)
    body = f"{{{inside}{edge}}}".encode()
    set_, default, strip = (
        [key for key, kind in zip(named, kinds, strict=False) if kind == which]
        for which in (0, 1, 2)
    )
    wanted: dict[str, Any] = json.loads(body)
    wanted = {key: value for key, value in wanted.items() if key not in strip}
    wanted |= dict.fromkeys(set_, "set")
    wanted = {**dict.fromkeys(default, "default"), **wanted}
    to = Change(dict.fromkeys(set_, b'"set"'), dict.fromkeys(default, b'"default"'), strip)
    changed = change(body, to, size)
    assert json.loads(changed) == wanted
    for key, value, blank in members:
        if key not in named:
            assert f'"{key}"{blank}:{blank}{value}'.encode() in changed


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b"{}", b'{"t": 1}'),
        (b'{"x": 1.50}', b'{"t": 1}'),
        (b'{ "x":1.50, "y" : 1e2 }', b'{"t": 1,  "y" : 1e2 }'),
        (b'{"y" : 1e2,\n"x":[1]}', b'{"t": 1, "y" : 1e2}'),
        (b'{"t":0,"x":[1],"y":{}}', b'{"t":1,"y":{}}'),
    ],
)
def test_bytes_are_those_that_came(body: bytes, changed: bytes) -> None:
    """Spaces and numbers are as the client wrote them."""
    assert change(body, Change({"t": b"1"}, strip=["x"])) == changed


def test_a_watched_key_must_not_come_twice() -> None:
    """Servers take the first or the last: whichever was changed, it could be the other."""
    with pytest.raises(BadBody, match="'t' twice"):
        change(b'{"t": 1, "\\u0074": 2}', Change({"t": b"3"}))
    assert change(b'{"t": 1, "t": 2}', Change()) == b'{"t": 1, "t": 2}'
