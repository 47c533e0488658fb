"""What tabbyAPI is thought to take, by the folder of its model."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxyserver.templates import Draft, Need
from proxyserver.templates.tabby import DRIVER, RAM, Tabby, TabbyOptions

LLAMA = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
VALUES = 2 * 32 * 8 * 128
"""Keys and values of one token."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    for part in (1, 2):
        with (tmp_path / f"model-0000{part}-of-00002.safetensors").open("wb") as file:
            file.truncate(1 << 30)
    return tmp_path


def draft(model: Path, **options: Any) -> Draft:
    return Tabby().draft(TabbyOptions(str(model), **options))


def test_weights_and_cache(model: Path) -> None:
    """Two bytes a value, for as many tokens as the cache has."""
    found = draft(model, max_seq_len=4096, cache_size=8192)
    assert found.need == Need((2 << 30) + 8192 * VALUES * 2 + DRIVER, RAM, 2 << 30)
    assert found.doubts == ()
    assert found.load_s == 12.0


def test_fewer_bits_take_less(model: Path) -> None:
    """A quantized cache is smaller, and has scales."""
    sizes = []
    for mode in ("FP16", "Q8", "8,4", "Q4"):
        need = draft(model, cache_size=8192, cache_mode=mode).need
        assert need is not None
        sizes.append((need.vram - DRIVER - (2 << 30)) / (8192 * VALUES))
    assert sizes == [2.0, 17 / 16, 0.75 * 17 / 16, 0.5 * 17 / 16]


def test_two_models(model: Path) -> None:
    """A draft model takes as much as it would alone."""
    one, two = (
        draft(model, cache_size=8192, **more).need for more in ({}, {"draft_model": str(model)})
    )
    assert one is not None
    assert two is not None
    assert two.vram - DRIVER == 2 * (one.vram - DRIVER)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LLAMA | {"layer_types": ["linear_attention"]}, "is not modelled"),
        (LLAMA | {"num_hidden_layers": "many"}, "does not say how large"),
        ([], "is not modelled"),
        (None, "has no config.json"),
    ],
)
def test_what_is_not_known_is_told(model: Path, config: Any, said: str) -> None:
    """No guess where the folder does not say it."""
    (model / "config.json").unlink()
    if config is not None:
        (model / "config.json").write_text(json.dumps(config))
    found = draft(model)
    assert found.need is None
    assert said in found.doubts[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_mode": "Q5"}, "`cache_mode` is FP16, Q8"),
        ({"cache_size": 1000}, "a multiple of 256, such as 1024"),
        ({"cache_size": 1024, "max_seq_len": 4096}, "cannot be less"),
        ({"gpu_split": (1.0, -1.0)}, "negative"),
    ],
)
def test_contradictions(model: Path, options: dict[str, Any], said: str) -> None:
    """Options that it would refuse after a minute are refused at once."""
    with pytest.raises(ValueError, match=said):
        draft(model, **options)
