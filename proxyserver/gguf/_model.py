"""What the heads of a model's files say of the model: the numbers on which its memory depends."""

import re
from collections.abc import Mapping, Sequence

import attrs

from ._head import SIZE_MAX, GgufError, Head, Items, Tensor, Value
from ._types import FILE_TYPES

LAYERS_MAX = 4096
NUMBER_MAX = 1 << 31
_LAYER = re.compile(r"blk\.(\d{1,6})\.")
_INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")
"""Tensors that llama.cpp never puts on a GPU."""

# What the formula cannot say anything of, by the keys (after the architecture) that tell it.
_NOT_MODELLED = {
    "attention.kv_lora_rank": "its attention is compressed (MLA)",
    "attention.indexer.": "its attention has an index of its own",
    "ssm.": "it has recurrent layers",
    "wkv.": "it has recurrent layers",
    "kda.": "it has recurrent layers",
    "shortconv.": "it has recurrent layers",
    "token_shift_count": "it has recurrent layers",
    "full_attention_interval": "it has recurrent layers",
    "decoder_block_count": "it has an encoder and a decoder",
}
# What takes less than the formula says.
_LESS = {
    "attention.sliding_window": "layers with a sliding window are counted with the whole context",
    "attention.shared_kv_layers": "layers that share a cache are counted with one each",
    "nextn_predict_layers": "layers for guessing ahead are counted like the others",
}


@attrs.frozen
class Model:
    """One model, over all its files."""

    architecture: str
    name: str
    quantisation: str
    """As llama.cpp calls it: `Q4_K_M`."""
    parameters: int
    context_length: int
    """Tokens, as it was trained."""
    vocabulary: int
    embedding: int
    feed_forward: int
    """The widest layer's."""
    heads: tuple[int, ...]
    """For each layer."""
    kv_heads: tuple[int, ...]
    """For each layer."""
    key_length: int
    value_length: int
    window: int
    """Tokens of the sliding window; 0: none."""
    experts: int
    experts_used: int
    experts_feed_forward: int
    input_size: int
    """Bytes of the weights before the first layer; so the next ones."""
    layer_sizes: tuple[int, ...]
    output_size: int
    is_tied: bool
    """The output has no weights of its own: it takes those of the input."""
    not_modelled: tuple[str, ...]
    """Why its cache cannot be told; none: it can."""
    less: tuple[str, ...]
    """Why its cache may be smaller than the formula says."""

    @property
    def layers(self) -> int:
        return len(self.layer_sizes)

    @property
    def size(self) -> int:
        """Bytes of all weights."""
        return self.input_size + sum(self.layer_sizes) + self.output_size


def model_of(heads: Sequence[Head]) -> Model:
    """Put together what the files of one model say; the first has the metadata.

    Raises:
        GgufError: a number is missing or impossible, or it is no language model.
    """
    metadata = heads[0].metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise GgufError("does not tell its architecture")
    if architecture == "clip":
        raise GgufError("is no language model but a projector: it goes into `mmproj`")
    numbers = _Numbers(architecture, metadata)
    layers = numbers.one("block_count", at_most=LAYERS_MAX)
    embedding = numbers.one("embedding_length")
    attention_heads = numbers.each("attention.head_count", layers)
    per_head = embedding // max(1, *attention_heads)
    tensors = [tensor for head in heads for tensor in head.tensors]
    input_size, layer_sizes, output_size = _sizes(tensors, layers)
    names = {tensor.name for tensor in tensors}
    return Model(
        architecture=architecture,
        name=_text(metadata, "general.name"),
        quantisation=_quantisation(metadata),
        parameters=sum(tensor.elements for tensor in tensors),
        context_length=numbers.one("context_length"),
        vocabulary=_vocabulary(numbers, tensors, embedding),
        embedding=embedding,
        feed_forward=max(numbers.each("feed_forward_length", layers, (0,))),
        heads=attention_heads,
        kv_heads=numbers.each("attention.head_count_kv", layers, attention_heads),
        key_length=numbers.one("attention.key_length", per_head),
        value_length=numbers.one("attention.value_length", per_head),
        window=max(numbers.each("attention.sliding_window", layers, (0,))),
        experts=numbers.one("expert_count", 0),
        experts_used=numbers.one("expert_used_count", 0),
        experts_feed_forward=numbers.one("expert_feed_forward_length", 0),
        input_size=input_size,
        layer_sizes=layer_sizes,
        output_size=output_size,
        is_tied="output.weight" not in names,
        not_modelled=tuple(_not_modelled(numbers)),
        less=tuple(dict.fromkeys(said for key, said in _LESS.items() if numbers.has(key))),
    )


@attrs.frozen
class _Numbers:
    """Reads numbers of the architecture, believing none of them."""

    architecture: str
    metadata: Mapping[str, Value]

    def has(self, key: str) -> bool:
        """Tell whether a key is there, or one that starts with it if it ends in a point."""
        full = f"{self.architecture}.{key}"
        if key.endswith("."):
            return any(name.startswith(full) for name in self.metadata)
        value = self.metadata.get(full)
        return value is not None and value != 0

    def one(self, key: str, default: int | None = None, *, at_most: int = NUMBER_MAX) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        return self._checked(key, value, at_most)

    def each(
        self, key: str, layers: int, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        """Return a number for each layer; the file may have one for all of them."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if value is None and default is not None:
            return default
        if not isinstance(value, tuple):
            return (self._checked(key, value, NUMBER_MAX),) * layers
        if len(value) < layers:
            raise GgufError(f"has {key} for {len(value)} of its {layers} layers")
        return tuple(self._checked(key, item, NUMBER_MAX) for item in value[:layers])

    def _checked(self, key: str, value: object, at_most: int) -> int:
        full = f"{self.architecture}.{key}"
        if value is None:
            raise GgufError(f"lacks {full}")
        if not isinstance(value, int) or not 0 <= value <= at_most:
            raise GgufError(f"has an impossible {full}: {str(value)[:40]}")
        if not value and key in ("block_count", "embedding_length"):
            raise GgufError(f"has an impossible {full}: 0")
        return int(value)


def _not_modelled(numbers: _Numbers) -> list[str]:
    found = [said for key, said in _NOT_MODELLED.items() if numbers.has(key)]
    if numbers.metadata.get(f"{numbers.architecture}.attention.causal") is False:
        found.append("it is an encoder")
    if numbers.architecture.startswith("rwkv"):
        found.append("it has recurrent layers")
    return list(dict.fromkeys(found))


def _sizes(tensors: Sequence[Tensor], layers: int) -> tuple[int, tuple[int, ...], int]:
    before, each, after = 0, [0] * layers, 0
    for tensor in tensors:
        match = _LAYER.match(tensor.name)
        if match is not None and int(match[1]) < layers:
            each[int(match[1])] += tensor.size
        elif tensor.name.startswith(_INPUT):
            before += tensor.size
        else:
            after += tensor.size
    if before + sum(each) + after > SIZE_MAX:
        raise GgufError("claims to have more weights than any machine has memory")
    return before, tuple(each), after


def _vocabulary(numbers: _Numbers, tensors: Sequence[Tensor], embedding: int) -> int:
    words = numbers.metadata.get("tokenizer.ggml.tokens")
    if isinstance(words, Items):
        return words.count
    table = next((one.elements for one in tensors if one.name == "token_embd.weight"), 0)
    return numbers.one("vocab_size", table // embedding)


def _quantisation(metadata: Mapping[str, Value]) -> str:
    number = metadata.get("general.file_type")
    if not isinstance(number, int):
        return "unknown"
    return FILE_TYPES.get(number, f"unknown ({number})")


def _text(metadata: Mapping[str, Value], key: str) -> str:
    value = metadata.get(key)
    # Control characters could play with the reader's terminal.
    return "".join(filter(str.isprintable, value))[:200] if isinstance(value, str) else ""
