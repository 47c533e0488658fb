"""The parser of heads: what it reads, and what it refuses."""

import re
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyserver.gguf import (
    GgufError,
    HeadIncomplete,
    NotModelled,
    Setting,
    estimate,
    model_of,
    parse_head,
    parts_of,
    read_model,
)
from proxyserver.gguf._head import ENTRIES_MAX, ITEMS_KEPT, TEXT_KEPT, Items

from .writing import Value, dense, dense_tensors, head, text, words, write

SMALL = head(dense(2), dense_tensors(2))
START = b"GGUF" + struct.pack("<I", 3)
NAME = text("a")


def start(tensors: int, keys: int) -> bytes:
    """Return the start of a head with these counts."""
    return START + struct.pack("<QQ", tensors, keys)


def read_or_refuse(data: bytes) -> None:
    """Do all that is done with a head; anything but our own errors is a fault."""
    with suppress(GgufError, NotModelled):
        estimate(model_of([parse_head(data)]), Setting())


def test_values_of_every_kind() -> None:
    """Scalars come as they are, long texts are cut, long arrays counted."""
    written: dict[str, Value] = {
        "flag": True,
        "less": -5,
        "half": 0.5,
        "name": "é" * TEXT_KEPT,
        "each": [4, 0, 4],
        "many": [1] * (ITEMS_KEPT + 1),
        "words": ["a", "bc"],
    }
    found = parse_head(head(written)).metadata
    assert found == written | {
        "name": "é" * (TEXT_KEPT // 2),
        "each": (4, 0, 4),
        "many": Items(ITEMS_KEPT + 1),
        "words": Items(2),
    }


@pytest.mark.parametrize(
    ("kind", "size"), [("f32", 3072 * 4), ("q4_0", 96 * 18), ("q6_K", 12 * 210), ("mxfp4", 96 * 17)]
)
def test_sizes_of_tensors(kind: str, size: int) -> None:
    """A tensor takes whole blocks of its type."""
    (tensor,) = parse_head(head({}, [("x", (512, 6), kind)])).tensors
    assert (tensor.name, tensor.elements, tensor.size) == ("x", 3072, size)


def test_every_cut_is_seen() -> None:
    """Whatever the number of bytes, a part of a head is not taken for a whole."""
    whole = SMALL.rstrip(b"\0")
    for length in range(len(whole) - 24):
        with pytest.raises(HeadIncomplete):
            parse_head(whole[:length])
    ending_in_words = head({"words": ["ab", "cd"]}).rstrip(b"\0")
    for length in range(len(ending_in_words)):
        with pytest.raises(HeadIncomplete):
            parse_head(ending_in_words[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\3\4" + bytes(99), "is no GGUF: it starts with b'PK"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(99), "version 1;"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(99), "a big-endian file"),
        (start(1 << 63, 0), "claims to have 9223372036854775808 tensors"),
        (start(0, ENTRIES_MAX + 1), f"claims to have {ENTRIES_MAX + 1} keys"),
        (start(0, 1) + struct.pack("<Q", 1 << 40) + bytes(99), "a name of 1099511627776 bytes"),
        (start(0, 1) + NAME + struct.pack("<I", 99), "value of type 99"),
        (start(0, 2) + (NAME + struct.pack("<IB", 0, 1)) * 2, "the key 'a' twice"),
        (start(0, 1) + NAME + struct.pack("<IIQ", 9, 9, 1), "value of type 9,"),
        (start(1, 0) + NAME + struct.pack("<I", 5), "claims 5 dimensions"),
        (start(1, 0) + NAME + struct.pack("<IQIQ", 1, 1, 77, 0), "tensor 'a' of type 77"),
        (start(1, 0) + NAME + struct.pack("<IQQIQ", 2, 1 << 62, 9, 0, 0), "bytes for the tensor"),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, said: str) -> None:
    """A head that cannot be true is refused with the reason, whatever follows."""
    with pytest.raises(GgufError, match=re.escape(said)):
        parse_head(data + bytes(32))


@pytest.mark.parametrize("count", [1 << 20, 1 << 61, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [0, 4, 8, 12])
def test_arrays_that_lie(kind: int, count: int) -> None:
    """A count is believed only as far as there are bytes: no memory, no time is lost on it."""
    lie = start(0, 1) + NAME + struct.pack("<IIQ", 9, kind, count)
    with pytest.raises(HeadIncomplete):
        parse_head(lie + bytes(64))


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    """Noise is refused, with a true start or without."""
    read_or_refuse(data)
    read_or_refuse(START + data)


changes = st.lists(
    st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=12
)


@given(changes, st.integers(0, len(SMALL)))
def test_any_damage(damage: list[tuple[int, int]], length: int) -> None:
    """A damaged head is read or refused: nothing else happens."""
    data = bytearray(SMALL)
    for at, byte in damage:
        data[at] = byte
    read_or_refuse(bytes(data))
    read_or_refuse(bytes(data[:length]))


odd = st.one_of(
    st.integers(-(1 << 31), (1 << 32) - 1),
    st.booleans(),
    st.floats(width=32),
    st.text(max_size=9),
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=9),
)
keys = st.sampled_from([*dense(), "qwen3.attention.sliding_window", "qwen3.expert_used_count"])


@given(st.dictionaries(keys, odd, min_size=1))
def test_any_values(wrong: dict[str, int | float | str | list[int]]) -> None:
    """Numbers that no model has, and values of another kind, are refused or reckoned with."""
    read_or_refuse(head(dense(2) | wrong, dense_tensors(2)))


def test_files_are_read_only_as_far_as_needed(tmp_path: Path) -> None:
    """A vocabulary longer than the first bytes read is read on; the weights are not."""
    vocabulary = words() | {"tokenizer.ggml.tokens": ["word" * 16] * 80_000}
    path = write(tmp_path / "x.gguf", dense(2) | vocabulary, dense_tensors(2))
    assert read_model(path).vocabulary == 80_000


def test_files_that_are_cut(tmp_path: Path) -> None:
    """A download that stopped within the head is told so, with the file."""
    path = tmp_path / "x.gguf"
    path.write_bytes(SMALL[:100])
    with pytest.raises(GgufError, match=r"x\.gguf: ends within its head"):
        read_model(path)


def test_split_models_are_summed(tmp_path: Path) -> None:
    """The weights of all parts count; the first has the metadata."""
    tensors = dense_tensors(2)
    whole = read_model(write(tmp_path / "x.gguf", dense(2), tensors))
    first = write(tmp_path / "y-00001-of-00002.gguf", dense(2), tensors[:9])
    write(tmp_path / "y-00002-of-00002.gguf", {"split.no": 1}, tensors[9:])
    assert read_model(first) == whole


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x-00002-of-00002.gguf", "name the first part"),
        ("x-00001-of-00002.gguf", "part 2 of 2 is missing"),
        ("x-00001-of-99999.gguf", "claims 99999 parts"),
    ],
)
def test_parts_that_are_not_there(tmp_path: Path, name: str, said: str) -> None:
    """A split model without all its parts is refused, and so is a name that lies."""
    (tmp_path / name).touch()
    with pytest.raises(GgufError, match=said):
        list(parts_of(tmp_path / name))
