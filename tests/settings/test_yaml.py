"""YAML as we read it."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.settings import SettingsError
from proxyserver.settings._yaml import DEPTH_MAX, VALUES_MAX, parse

ENVIRON = {"PORT": "80", "EMPTY": "", "STRUCTURE": "1\nb: 2"}


def data(text: str) -> Any:
    document = parse(text, "f", ENVIRON)
    document.problems.check()
    return document.data


def problem(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        data(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01"),
        ("0755", 755),
        ("0o17", 15),
        ("0xff", 255),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("+12", 12),
        ("-.inf", float("-inf")),
        ("True", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int '7'", 7),
        ("1_000", "1_000"),
        ("=", "="),
    ],
)
def test_scalars_are_of_yaml_1_2(written: str, meant: Any) -> None:
    """A scalar is what YAML 1.2 says it is, in value and type."""
    (value,) = data(f"[{written}]" if written else "[~]")
    assert value == meant
    assert isinstance(value, type(meant))


def test_numbers_remember_their_text() -> None:
    """A version that looks like a number can still be had as it was written."""
    assert [value.text for value in data("[1.10, 0755, 1e3]")] == ["1.10", "0755", "1e3"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${env:PORT}", 80),
        ("'${env:PORT}'", "80"),
        ("${env:NONE:-90}", 90),
        ("${env:EMPTY:-91}", 91),
        ("${env:EMPTY}", None),
        ("a${env:PORT}b${env:PORT}", "a80b80"),
        ("$${env:PORT}", "${env:PORT}"),
        ("${PORT} $x $$y", "${PORT} $x $y"),
        ("${env:STRUCTURE}", "1\nb: 2"),
    ],
)
def test_environment_is_filled_in_after_parsing(written: str, meant: Any) -> None:
    """A variable becomes a value of any kind, and never more than a value."""
    assert data(f"a: {written}") == {"a": meant}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: ${env:NONE}", "f:1:4: a: the environment variable NONE is not set"),
        ("a:\n  - ${env:}", "f:2:5: a[0]: write ${env:NAME} or ${env:NAME:-default}"),
        ("a: 1\nb: 2\na: 3", "f:3:1: a: given twice, first in line 1"),
        ("a: !python/none 1", "f:1:4: a: '1' will not do for the tag '!python/none'"),
        ("a: !!set {x}", "f:1:4: a: the tag 'tag:yaml.org,2002:set' means nothing here"),
        ("a: !!int x", "f:1:4: a: 'x' will not do for the tag 'tag:yaml.org,2002:int'"),
        ("? [x]\n: 1", "f:1:1: a key must be a word"),
        ("a: {<<: 7}", "f:1:5: a.<<: only mappings can be merged"),
        ("a: [1", "f:1:6: broken YAML: while parsing a flow sequence: expected ',' or ']'"),
        ("a: *b", "f:1:4: broken YAML: found undefined alias 'b'"),
        ("a: 1\n--- \nb: 2", "f:2:1: broken YAML: expected a single document"),
        ("# nothing\n", "f:1:1: the file is empty"),
        ("a: 1\nb: \x07", "f:2:4: the character U+0007 is not allowed"),
        ('"\\UFFFFFFFF"', "f:1:4: broken YAML"),
        ("a: " + "9" * 5000, "will not do"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    """The first problem names line, column and path."""
    assert said in problem(text)


def test_anchors_and_merge_keys() -> None:
    """What stands in the mapping itself wins, then the earlier of what is merged in."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {x: 4, <<: *a}"
    found = data(text)
    assert found["c"] == {"x": 3, "y": 1, "z": 2}
    assert found["d"] == {"x": 4, "y": 1}


def test_merged_values_stand_where_they_are_written() -> None:
    """A problem with a merged value is shown where it can be put right."""
    document = parse("a: &a\n  x: 1\nb:\n  <<: *a", "f", {})
    found = document.problems.marks.problem(("b", "x"), "wrong")
    assert (found.line, found.column) == (2, 6)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("a: &a [*a]", "nested too deeply, aliases followed"),
        ("&a {<<: *a}", "nested too deeply, aliases followed"),
        (BOMB, f"more than {VALUES_MAX} values, aliases followed"),
        ("a: &a {" + ", ".join(f"k{n}" for n in range(500)) + "}\n"
         "b: {<<: [" + ", ".join(["*a"] * 500) + "]}", "more than"),
    ],
)  # fmt: skip
def test_bombs_are_refused(text: str, said: str) -> None:
    """Neither depth nor aliases can make us work for long."""
    assert said in problem(text)


YAML_TEXT = st.text(alphabet="ab01:-[]{}&*<!|>?%@#,'\"\\$ \n\t~.eé\x00\u2028", max_size=60)


@given(st.one_of(YAML_TEXT, st.text(max_size=40)))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the loader fail in another way than by SettingsError."""
    with suppress(SettingsError):
        parse(text, "f", {})
