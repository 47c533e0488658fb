"""Writing GGUF files: small heads for the parser, and whole models of zeros for the real server."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from proxyserver.gguf import BLOCKS

Value: TypeAlias = bool | int | float | str | Sequence[int] | Sequence[str]
Tensor: TypeAlias = tuple[str, tuple[int, ...], str]
"""Name, shape with the rows' length first, type."""
_NUMBERS = {block.name: number for number, block in BLOCKS.items()}
ALIGNMENT = 32


def text(value: str) -> bytes:
    """Return a string as GGUF has it."""
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def scalar(value: bool | int | float | str) -> tuple[int, bytes]:
    """Return the number of a value's type and its bytes."""
    match value:
        case bool():
            return 7, bytes([value])
        case int():
            return (4, struct.pack("<I", value)) if value >= 0 else (5, struct.pack("<i", value))
        case float():
            return 6, struct.pack("<f", value)
        case str():
            return 8, text(value)


def entry(key: str, value: Value) -> bytes:
    """Return one key with its value."""
    if isinstance(value, bool | int | float | str):
        kind, encoded = scalar(value)
        return text(key) + struct.pack("<I", kind) + encoded
    if all(isinstance(item, int) for item in value):
        # Signed, as llama.cpp wants the kinds of words; it takes both where it wants layers.
        kind, items = 5, struct.pack(f"<{len(value)}i", *value)
    else:
        kind, items = 8, b"".join(text(str(item)) for item in value)
    return text(key) + struct.pack("<IIQ", 9, kind, len(value)) + items


def size_of(shape: Sequence[int], kind: str) -> int:
    """Return the bytes of a tensor, in file."""
    block = BLOCKS[_NUMBERS[kind]]
    elements = 1
    for length in shape:
        elements *= length
    return elements // block.elements * block.size


def head(metadata: Mapping[str, Value], tensors: Sequence[Tensor] = (), version: int = 3) -> bytes:
    """Return all that stands before the weights."""
    parts = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(metadata))]
    parts += [entry(key, value) for key, value in metadata.items()]
    offset = 0
    for name, shape, kind in tensors:
        parts.append(text(name) + struct.pack("<I", len(shape)))
        parts.append(struct.pack(f"<{len(shape)}QIQ", *shape, _NUMBERS[kind], offset))
        offset += _padded(size_of(shape, kind))
    written = b"".join(parts)
    return written.ljust(_padded(len(written)), b"\0")


def write(path: Path, metadata: Mapping[str, Value], tensors: Sequence[Tensor]) -> Path:
    """Write a model whose weights are zeros: a hole, which takes no room on the disk."""
    written = head(metadata, tensors)
    with path.open("wb") as file:
        file.write(written)
        file.truncate(
            len(written) + sum(_padded(size_of(shape, kind)) for _, shape, kind in tensors)
        )
    return path


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def dense(layers: int = 6, *, kv_heads: Value = 8, **more: Value) -> dict[str, Value]:
    """Return the metadata of a model in the manner of Qwen3; `more` are keys after its name."""
    return {
        "general.architecture": "qwen3",
        "general.file_type": 7,
        "qwen3.block_count": layers,
        "qwen3.context_length": 32768,
        "qwen3.embedding_length": 1024,
        "qwen3.feed_forward_length": 3072,
        "qwen3.attention.head_count": 16,
        "qwen3.attention.head_count_kv": kv_heads,
        "qwen3.attention.key_length": 128,
        "qwen3.attention.value_length": 128,
        "qwen3.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen3.rope.freq_base": 1e6,
        **{f"qwen3.{key.replace('__', '.')}": value for key, value in more.items()},
    }


def dense_tensors(layers: int = 6, *, is_tied: bool = True) -> list[Tensor]:
    """Return the tensors that belong to `dense`."""
    tensors: list[Tensor] = [
        ("token_embd.weight", (1024, WORDS), "q8_0"),
        ("output_norm.weight", (1024,), "f32"),
    ]
    if not is_tied:
        tensors.append(("output.weight", (1024, WORDS), "q8_0"))
    shapes: dict[str, tuple[int, ...]] = {
        "attn_q": (1024, 2048),
        "attn_k": (1024, 1024),
        "attn_v": (1024, 1024),
        "attn_output": (2048, 1024),
        "ffn_gate": (1024, 3072),
        "ffn_up": (1024, 3072),
        "ffn_down": (3072, 1024),
    }
    norms = {"attn_norm": 1024, "ffn_norm": 1024, "attn_q_norm": 128, "attn_k_norm": 128}
    for layer in range(layers):
        start = f"blk.{layer}."
        tensors += [(f"{start}{name}.weight", shape, "q8_0") for name, shape in shapes.items()]
        tensors += [(f"{start}{name}.weight", (size,), "f32") for name, size in norms.items()]
    return tensors


WORDS = 512


def words() -> dict[str, Value]:
    """Return a vocabulary that the real server takes: the bytes, and some more."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    # Bytes that cannot be printed stand as letters from 256 on, as GPT-2 has it.
    tokens = [chr(code) for code in printable] + [chr(256 + index) for index in range(68)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens + [f"<{index}>" for index in range(WORDS - 256)],
        "tokenizer.ggml.token_type": [1] * WORDS,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
