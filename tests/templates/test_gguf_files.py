"""A llamacpp service that died without a word: its files may tell why."""

from pathlib import Path

import pytest

from proxycore import Cause
from proxyserver.templates.llamacpp import LlamaCpp, LlamaCppOptions
from tests.gguf.writing import dense, dense_tensors, words, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "x.gguf", dense(2) | words(), dense_tensors(2))


def found(model: Path, change: str) -> Cause | None:
    """Make a draft, then do something to the file, then look."""
    draft = LlamaCpp().draft(LlamaCppOptions(str(model)))
    assert draft.warnings == ()
    match change:
        case "removed":
            model.unlink()
        case "replaced":
            model.write_bytes(b"not found\n")
        case "cut off":
            model.write_bytes(model.read_bytes()[:-1])
    assert draft.examine is not None
    return draft.examine()


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ("removed", "model_missing", "No such file or directory: put it back"),
        ("replaced", "model_corrupt", "is no GGUF: it starts with b'not ': fetch it again"),
        ("cut off", "model_corrupt", "bytes are there: fetch it again"),
    ],
)
def test_files_that_changed(model: Path, change: str, kind: str, said: str) -> None:
    """What was good when the configuration was read may be so no longer."""
    cause = found(model, change)
    assert cause is not None
    assert (cause.kind, cause.heals) == (kind, False)
    assert cause.message.startswith(f"`model`: {model}: ")
    assert said in cause.message


def test_files_that_are_good(model: Path) -> None:
    assert found(model, "nothing") is None
