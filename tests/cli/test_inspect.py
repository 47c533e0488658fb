"""`inspect`: what it prints of a model, and what it refuses."""

import json
from pathlib import Path

import pytest

from proxyserver.cli import run
from tests.gguf.writing import dense, dense_tensors, words, write

TABLE = """\
MODEL               -
architecture        qwen3
quantisation        Q8_0
parameters          32.0 million
weights             32.4 MiB
layers              2
embedding           1024
heads               16
kv heads            2 to 8, by layer
key, value length   128, 128
context as trained  32,768
vocabulary          512

With a context of 4,096 tokens, slots: 2
MEMORY  WEIGHTS   KV-CACHE  COMPUTE   OUTPUT  TOTAL
vram    16.5 MiB  2.1 MiB   32.0 MiB  0 B     50.6 MiB
ram     16.5 MiB  8.5 MiB   30.0 MiB  4 KiB   55.0 MiB
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    metadata = dense(2, kv_heads=[8, 2]) | words()
    return str(write(tmp_path / "x.gguf", metadata, dense_tensors(2)))


def test_table(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The model, then its memory."""
    options = "--ctx 4096 --parallel 2 --cache-type q8_0 --gpu-layers 2".split()
    assert run(["inspect", model, *options]) == 0
    assert capsys.readouterr().out == TABLE


def test_document(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs the same in bytes, as the model was trained where nothing is said."""
    assert run(["inspect", model, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"]["kv_heads"] == [8, 2]
    assert told["memory"]["ctx"] == told["model"]["context_length"] == 32768
    assert told["memory"]["vram"]["cache"] == 32768 * 10 * 128 * 4
    assert told["remarks"] == []


def test_what_is_not_modelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model is shown all the same, and there is a reason in place of the memory."""
    model = write(tmp_path / "m.gguf", dense(2, ssm__state_size=1) | words(), dense_tensors(2))
    assert run(["inspect", str(model)]) == 0
    told = capsys.readouterr().out
    assert "MEMORY" not in told
    assert told.endswith("Note: the memory of 'qwen3' is not modelled: it has recurrent layers.\n")
    assert run(["inspect", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.gguf"], 1, "No such file"),
        ([__file__], 1, "is no GGUF"),
        (["x", "--ctx", "-1"], 2, "--ctx"),
        (["x", "--parallel", "0"], 2, "--parallel"),
        (["x", "--cache-type", "q9"], 2, "q9"),
    ],
)
def test_what_is_refused(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage and wrong files have their own exit codes, and a reason each."""
    assert run(["inspect", *arguments]) == code
    assert said in capsys.readouterr().err
