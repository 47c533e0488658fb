"""From the first bytes of a GGUF file to its metadata and the sizes of its tensors.

Written from the specification (ggml `docs/gguf.md`), against files that lie: every count is
checked against a limit or against the bytes that are there before anything is made of it, so that
work and memory stay in proportion to the bytes given.  Weights are never looked at.
"""

import struct
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from ._types import BLOCKS, Block

ENTRIES_MAX = 1 << 16
"""Keys, and tensors: the largest models have some 100 and some 2,000."""
KEY_MAX = 1 << 16
DIMENSIONS_MAX = 4
SIZE_MAX = 1 << 60
"""Bytes of a tensor, and of a model: more than any machine has."""
ALIGNMENT = 32
"""Of the weights, where the file does not say it."""
TEXT_KEPT = 1024
"""Of a text; templates and the like are of no use here."""
ITEMS_KEPT = 4096
"""Of an array of numbers: one for each layer, not one for each word."""

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_ENTRY_LEAST = 13
_TENSOR_LEAST = 24
_SCALARS = {
    number: struct.Struct(f"<{code}")
    for number, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
_TEXT, _ARRAY = 8, 9


class GgufError(ValueError):
    """This is no GGUF that can be read; the text says why."""


class HeadIncomplete(GgufError):
    """The head goes on after the last byte given."""


@attrs.frozen
class Items:
    """An array that is not kept: texts, or too many numbers."""

    count: int


Value: TypeAlias = bool | int | float | str | tuple[bool | int | float, ...] | Items


@attrs.frozen
class Tensor:
    """What the head tells of one tensor."""

    name: str
    elements: int
    block: Block
    size: int
    """Bytes, without the padding after it."""
    offset: int
    """Where it lies among the weights."""


@attrs.frozen
class Head:
    """All that stands before the weights."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    length: int
    """Its own bytes, with the padding before the weights."""

    @property
    def file_size(self) -> int:
        """Bytes that the file must have at least."""
        return self.length + max((one.offset + one.size for one in self.tensors), default=0)


def parse_head(data: bytes) -> Head:
    """Read a head from the first bytes of a file; what follows it is ignored.

    Raises:
        HeadIncomplete: more bytes are needed to tell.
        GgufError: it is no GGUF, a damaged one, or of a version that is not known.
    """
    cursor = _Cursor(data)
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise GgufError(f"is no GGUF: it starts with {magic!r}")
    version = cursor.u32()
    if version not in (2, 3):
        turned = " (a big-endian file, which is not supported)" if version >> 16 else ""
        raise GgufError(f"is GGUF version {version}{turned}; versions 2 and 3 are known")
    tensors, entries = cursor.count("tensors"), cursor.count("keys")
    cursor.expect(entries * _ENTRY_LEAST + tensors * _TENSOR_LEAST)
    metadata: dict[str, Value] = {}
    for _ in range(entries):
        key = cursor.text(KEY_MAX)
        if key in metadata:
            raise GgufError(f"has the key {key[:64]!r} twice")
        metadata[key] = cursor.value()
    found = tuple(cursor.tensor() for _ in range(tensors))
    alignment = metadata.get("general.alignment")
    if not isinstance(alignment, int) or alignment <= 0:
        alignment = ALIGNMENT
    return Head(version, metadata, found, -(-cursor.at // alignment) * alignment)


@attrs.define
class _Cursor:
    """Walks over the bytes, never past their end."""

    data: bytes
    at: int = 0

    def expect(self, size: int) -> None:
        if size > len(self.data) - self.at:
            raise HeadIncomplete("ends within its head: it is incomplete")

    def take(self, size: int) -> bytes:
        self.expect(size)
        start, self.at = self.at, self.at + size
        return self.data[start : self.at]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def count(self, what: str) -> int:
        count = self.u64()
        if count > ENTRIES_MAX:
            raise GgufError(f"claims to have {count} {what}; at most {ENTRIES_MAX} are believed")
        return count

    def text(self, size_max: int) -> str:
        """Return a text whole, which must not be longer than that."""
        size = self.u64()
        if size > size_max:
            raise GgufError(f"claims to have a name of {size} bytes")
        return self.take(size).decode(errors="replace")

    def value(self) -> Value:
        kind = self.u32()
        if kind == _ARRAY:
            return self.array()
        if kind == _TEXT:
            size = self.u64()
            self.expect(size)
            start, self.at = self.at, self.at + size
            return self.data[start : start + min(size, TEXT_KEPT)].decode(errors="replace")
        return self.number(kind)

    def number(self, kind: int) -> bool | int | float:
        scalar = _scalar(kind)
        found: bool | int | float = scalar.unpack(self.take(scalar.size))[0]
        return found

    def array(self) -> Value:
        kind, count = self.u32(), self.u64()
        if kind == _TEXT:
            self.expect(count * _U64.size)
            self.skip_texts(count)
            return Items(count)
        scalar = _scalar(kind)
        self.expect(count * scalar.size)
        if count <= ITEMS_KEPT:
            return tuple(self.number(kind) for _ in range(count))
        self.at += count * scalar.size
        return Items(count)

    def skip_texts(self, count: int) -> None:
        # Half a million words and pairs of them in one file: the one loop here that must be quick.
        data, at, end, unpack = self.data, self.at, len(self.data) - _U64.size, _U64.unpack_from
        for _ in range(count):
            if at > end:
                break
            at += 8 + unpack(data, at)[0]
        else:
            if at <= len(data):
                self.at = at
                return
        raise HeadIncomplete("ends within its head: it is incomplete")

    def tensor(self) -> Tensor:
        name = self.text(KEY_MAX)
        dimensions = self.u32()
        if dimensions > DIMENSIONS_MAX:
            raise GgufError(f"claims {dimensions} dimensions for the tensor {name[:64]!r}")
        shape = [self.u64() for _ in range(dimensions)]
        kind = self.u32()
        offset = self.u64()
        block = BLOCKS.get(kind)
        if block is None:
            raise GgufError(f"has the tensor {name[:64]!r} of type {kind}, which is not known")
        elements = 1
        for length in shape:
            elements *= length
        size = block.row(elements)
        if size > SIZE_MAX:
            raise GgufError(f"claims {size} bytes for the tensor {name[:64]!r}")
        return Tensor(name, elements, block, size, offset)


def _scalar(kind: int) -> struct.Struct:
    scalar = _SCALARS.get(kind)
    if scalar is None:
        # Among them arrays of arrays, which llama.cpp does not read either.
        raise GgufError(f"has a value of type {kind}, which is not known")
    return scalar
