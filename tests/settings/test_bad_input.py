"""What people get wrong, found before anything starts: each with its place and what to do."""

import pytest

from tests.gguf.writing import dense, dense_tensors, words, write

from .writing import Folder

HERE = "server: {ram: 8GiB, runtime: process}\n"
LLAMA = "services:\n  a:\n    type: llamacpp\n    binary: sh\n    memory: {ram: 1GiB}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n  a: {type: lamacpp}", "2:13: services.a.type: unknown type 'lamacpp' (there"),
        ("services:\n  a: {type: lamacpp}", "; did you mean 'llamacpp'?"),
        (f"{LLAMA}    modle: x", "6:5: services.a.modle: unknown key; did you mean 'model'?"),
        (f"{LLAMA}    model: x.gguf", "6:12: services.a.model: no such file: "),
        (
            f"{LLAMA}    model: .\n    cache_type_k: q8",
            "7:19: services.a.cache_type_k: expected f32 or f16 or ",
        ),
        (f"{LLAMA}    model: .", "6:12: services.a.model: "),
        (
            "services:\n  a:\n    container: {image: x, port: 1, volumes: ['./gone:/data']}",
            "3:46: services.a.container.volumes[0]: no such file or folder: ",
        ),
    ],
    ids=["type", "type-near", "option", "missing", "value", "folder", "bind-source"],
)
def test_errors(folder: Folder, text: str, said: str) -> None:
    """A configuration that cannot work is refused, at the line and column."""
    assert any(said in problem for problem in folder.problems(text))


def remarks(folder: Folder, options: str) -> list[str]:
    """Return what is said of a service that is accepted."""
    found = folder.load(f"{HERE}{LLAMA}{options}")
    return [str(one).removeprefix(f"{folder.file}:") for one in found.remarks]


def test_a_file_that_is_no_model(folder: Folder) -> None:
    """It is said at its option; a server may be newer than our reading of the format."""
    path = folder.path / "x.gguf"
    path.write_bytes(b"<!DOCTYPE html><title>Sign in</title>")
    assert remarks(folder, "    model: x.gguf") == [
        f"7:12: services.a.model: {path}: is no GGUF: it starts with b'<!DO'"
    ]


def test_a_model_that_is_cut_off(folder: Folder) -> None:
    """A download that broke off is told with what there is and what there should be."""
    path = write(folder.path / "x.gguf", dense(2) | words(), dense_tensors(2))
    size = path.stat().st_size
    assert remarks(folder, "    model: x.gguf") == []
    with path.open("r+b") as file:
        file.truncate(size // 2)
    assert remarks(folder, "    model: x.gguf") == [
        f"7:12: services.a.model: {path}: is incomplete: {size // 2:,} of {size:,} bytes are there"
    ]


def test_what_goes_with_a_model_is_looked_at_too(folder: Folder) -> None:
    write(folder.path / "x.gguf", dense(2) | words(), dense_tensors(2))
    (folder.path / "eyes.gguf").write_bytes(b"GGUF")
    said = f"8:13: services.a.mmproj: {folder.path}/eyes.gguf: ends within its head"
    assert remarks(folder, "    model: x.gguf\n    mmproj: eyes.gguf") == [
        f"{said}: it is incomplete"
    ]
