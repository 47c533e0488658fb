"""What a model's folder, as the hub has it, says of the memory that the model takes."""

import json
from pathlib import Path
from typing import Any

JSON_MAX = 16 << 20
"""A `config.json` has some kilobytes."""


class NotKnown(Exception):
    """The folder does not say it; the text says what it lacks."""


def weights(folder: Path) -> int:
    """Return the bytes of all weights.

    Raises:
        NotKnown: there are none.
        OSError: the folder cannot be read.
    """
    total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if not total:
        raise NotKnown(f"{folder} has no weights (*.safetensors)")
    return total


def cache_values(folder: Path) -> int:
    """Return how many numbers a token has in the cache, keys and values together.

    Raises:
        NotKnown: `config.json` is not there, or describes a cache of another kind.
        OSError: it cannot be read.
    """
    path = folder / "config.json"
    if not path.is_file() or path.stat().st_size > JSON_MAX:
        raise NotKnown(f"{folder} has no config.json")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise NotKnown(f"{path} is no JSON: {error}") from None
    if isinstance(config, dict) and isinstance(config.get("text_config"), dict):
        config = config["text_config"]
    if not isinstance(config, dict) or "kv_lora_rank" in config or "layer_types" in config:
        raise NotKnown("the cache of this kind of model is not modelled")
    layers, heads = _number(config, "num_hidden_layers"), _number(config, "num_attention_heads")
    kv_heads = _number(config, "num_key_value_heads", heads)
    width = _number(config, "head_dim", _number(config, "hidden_size", 0) // (heads or 1))
    if not layers * kv_heads * width:
        raise NotKnown(f"{path} does not say how large its cache is")
    return 2 * layers * kv_heads * width


def _number(config: dict[str, Any], key: str, default: int = 0) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else default


def weights_of(model: str) -> int | None:
    """Return the bytes of the weights of a model; None: it is a name at the hub, or unreadable."""
    if not model.startswith("/"):
        return None
    try:
        return weights(Path(model))
    except (NotKnown, OSError):
        return None
