"""Reads the heads of a model's files, and no more of them than that."""

import re
from collections.abc import Iterator
from pathlib import Path

from ._head import GgufError, Head, HeadIncomplete, parse_head
from ._model import Model, model_of

READ_FIRST = 4 << 20
READ_MAX = 256 << 20
"""The longest heads, of large vocabularies, have some 20 MB."""
PARTS_MAX = 1024
_PART = re.compile(r"(.+-)(\d{5})(-of-(\d{5})\.gguf)")


def read_model(path: Path) -> Model:
    """Read what a model's files say of it; of a split model, name the first.

    Raises:
        GgufError: a file is no GGUF that can be read, or a part is missing.
        OSError: a file cannot be read.
    """
    return model_of([_read_head(part) for part in parts_of(path)])


def check_files(path: Path) -> None:
    """Look whether a model's files can be read, and are as long as their heads say.

    Raises:
        GgufError: one is no GGUF, cut off, or missing.
        OSError: one cannot be read.
    """
    for part in parts_of(path):
        wanted, size = _read_head(part).file_size, part.stat().st_size
        if size < wanted:
            raise GgufError(f"{part}: is incomplete: {size:,} of {wanted:,} bytes are there")


def parts_of(first: Path) -> Iterator[Path]:
    """Yield all files of a model that may be split (`x-00001-of-00003.gguf`).

    Raises:
        GgufError: one is missing, or the first named is not the first.
    """
    match = _PART.fullmatch(first.name)
    if match is None:
        yield first
        return
    head, number, tail, total = match.groups()
    if int(number) != 1:
        raise GgufError(f"name the first part of a split model, not {first.name}")
    if int(total) > PARTS_MAX:
        raise GgufError(f"{first.name} claims {int(total)} parts; at most {PARTS_MAX} are believed")
    for index in range(1, int(total) + 1):
        part = first.with_name(f"{head}{index:05}{tail}")
        if not part.is_file():
            raise GgufError(f"part {index} of {int(total)} is missing: {part}")
        yield part


def _read_head(path: Path) -> Head:
    with path.open("rb") as file:
        data = b""
        wanted = READ_FIRST
        while True:
            data += file.read(wanted - len(data))
            try:
                return parse_head(data)
            except HeadIncomplete:
                if len(data) < wanted:
                    raise GgufError(f"{path}: ends within its head: it is incomplete") from None
                if wanted >= READ_MAX:
                    raise GgufError(
                        f"{path}: its head is longer than {READ_MAX >> 20} MiB"
                    ) from None
            except GgufError as error:
                raise GgufError(f"{path}: {error}") from None
            wanted *= 4
