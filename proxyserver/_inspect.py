"""What `aiproxy inspect` tells of a model: tables for people, a document for programs."""

import sys
from pathlib import Path
from typing import Any

import attrs

from ._console import print_table, size
from .gguf import Estimate, Model, NotModelled, Setting, Share, estimate, read_model


@attrs.frozen
class Findings:
    """A model, and its memory where the formula knows it."""

    model: Model
    memory: Estimate | None
    remarks: tuple[str, ...]
    """What the estimate leaves out, or why there is none."""


def findings(file: Path, setting: Setting) -> Findings:
    """Read a model and estimate its memory, or say why that cannot be done.

    Raises:
        GgufError: it is no GGUF that can be read, or a part is missing.
        OSError: it cannot be read.
    """
    model = read_model(file)
    try:
        memory = estimate(model, setting)
    except NotModelled as error:
        return Findings(model, None, (str(error),))
    return Findings(model, memory, (*memory.at_most, *memory.approximate))


def document(found: Findings) -> dict[str, Any]:
    """Return all of it, in bytes and tokens."""
    memory = found.memory
    estimated = None
    if memory is not None:
        estimated = {
            "ctx": memory.ctx,
            "slots": memory.slots,
            "vram": _share(memory.vram),
            "ram": _share(memory.ram),
            "total": memory.total,
        }
    model = attrs.asdict(found.model) | {"layers": found.model.layers, "size": found.model.size}
    return {"model": model, "memory": estimated, "remarks": found.remarks}


def show(found: Findings) -> None:
    """Print it for people."""
    print_table(_model_rows(found.model))
    if found.memory is not None:
        ctx, slots = found.memory.ctx, found.memory.slots
        sys.stdout.write(f"\nWith a context of {ctx:,} tokens, slots: {slots}\n")
        print_table(_memory_rows(found.memory))
    for remark in found.remarks:
        sys.stdout.write(f"\nNote: {remark}.\n")


def _model_rows(model: Model) -> list[tuple[str, ...]]:
    """Return the table of the model: its head, then a row a fact."""
    rows: list[tuple[str, ...]] = [
        ("MODEL", model.name or "-"),
        ("architecture", model.architecture),
        ("quantisation", model.quantisation),
        ("parameters", f"{model.parameters / 1e6:,.1f} million"),
        ("weights", size(model.size)),
        ("layers", str(model.layers)),
        ("embedding", str(model.embedding)),
        ("heads", _range(model.heads)),
        ("kv heads", _range(model.kv_heads)),
        ("key, value length", f"{model.key_length}, {model.value_length}"),
        ("context as trained", f"{model.context_length:,}"),
        ("vocabulary", f"{model.vocabulary:,}"),
    ]
    if model.window:
        rows.append(("sliding window", f"{model.window:,}"))
    if model.experts:
        rows.append(("experts", f"{model.experts_used} of {model.experts} used"))
    return rows


def _memory_rows(memory: Estimate) -> list[tuple[str, ...]]:
    """Return the table of the memory: its head, then a row a kind of memory."""
    head = ("MEMORY", "WEIGHTS", "KV-CACHE", "COMPUTE", "OUTPUT", "TOTAL")
    shares = (("vram", memory.vram), ("ram", memory.ram))
    rows = [(name, *(size(amount) for amount in _share(share).values())) for name, share in shares]
    return [head, *rows]


def _share(share: Share) -> dict[str, int]:
    return attrs.asdict(share) | {"total": share.total}


def _range(numbers: tuple[int, ...]) -> str:
    least, most = min(numbers), max(numbers)
    return str(most) if least == most else f"{least} to {most}, by layer"
