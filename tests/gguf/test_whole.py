"""Whether the files of a model are whole, by their heads and lengths."""

from pathlib import Path

import pytest

from proxyserver.gguf import GgufError, check_files
from tests.rig.llama import Llama

from .writing import dense, dense_tensors, words, write


def cut(path: Path, size: int) -> Path:
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def test_not_a_byte_may_lack(tmp_path: Path) -> None:
    """A whole file is good; one that lacks a byte of its last tensor is not."""
    path = write(tmp_path / "x.gguf", dense(2) | words(), dense_tensors(2))
    check_files(path)
    size = path.stat().st_size
    with pytest.raises(GgufError, match=rf"x.gguf: is incomplete: {size - 1:,} of {size:,} bytes"):
        check_files(cut(path, size - 1))


def test_every_part_of_a_split_model_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "x-00001-of-00002.gguf", dense(2) | words(), dense_tensors(2))
    second = write(tmp_path / "x-00002-of-00002.gguf", {}, dense_tensors(2)[:4])
    check_files(first)
    cut(second, second.stat().st_size // 2)
    with pytest.raises(GgufError, match=r"x-00002-of-00002\.gguf: is incomplete"):
        check_files(first)


@pytest.mark.llama
def test_a_real_model_is_whole(llama: Llama, tmp_path: Path) -> None:
    """As it was fetched; one that lacks its last byte is not."""
    check_files(llama.parts.model)
    copy = tmp_path / "x.gguf"
    copy.write_bytes(llama.parts.model.read_bytes()[:-1])
    with pytest.raises(GgufError, match="is incomplete"):
        check_files(copy)
