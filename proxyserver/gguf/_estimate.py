"""The memory that llama-server takes for a model: the formula, and its limits.

Cache: for each layer and each cell, the keys and the values of all its heads.  Weights: as in the
file.  Compute buffer: measured on llama-server and found to be, for each token of a batch, five
vectors of the model's width and three of its feed-forward's, in 32 bits, and a mask over the
cells in 16.  docs/reference/memory.md has the figures.
"""

import attrs

from ._head import SIZE_MAX
from ._model import Model
from ._types import BLOCK_BY_NAME

BATCH = 512
"""Tokens that llama.cpp computes at once (`--ubatch-size`), by default."""
PADDING = 256
"""Cells come in so many."""
SLOTS = 4
"""That llama-server makes when nobody says; they share one cache."""
INPUTS = 10
"""Numbers of 32 bits for each token of a batch beside its vectors: positions, indices."""
F32, F16 = 4, 2
_PLAIN = ("f16", "bf16", "f32")
"""Types of cache that are computed with as they are."""


@attrs.frozen
class Setting:
    """The options of llama-server on which memory depends, by its own names."""

    ctx: int | None = None
    """Tokens over all slots; None or 0: as the model was trained."""
    parallel: int | None = None
    """None: as many as llama-server makes, with one cache for all."""
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    gpu_layers: int | None = None
    """Counted from the output, which is the first; None: all."""
    flash_attention: bool = True


@attrs.frozen
class Share:
    """Bytes on one kind of memory."""

    weights: int = 0
    cache: int = 0
    compute: int = 0
    output: int = 0
    """What the answers of one step are gathered in."""

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute + self.output


@attrs.frozen
class Estimate:
    """What a model will take, on GPUs and in main memory."""

    ctx: int
    """Tokens over all slots, as llama-server rounds them."""
    slots: int
    vram: Share
    ram: Share
    at_most: tuple[str, ...]
    """Why the cache may be smaller; none: it is exact."""
    approximate: tuple[str, ...]
    """Why the compute buffer may be another."""

    @property
    def total(self) -> int:
        return self.vram.total + self.ram.total


class NotModelled(ValueError):
    """The formula does not hold for this model; the text says why."""


def estimate(model: Model, setting: Setting) -> Estimate:
    """Estimate what llama-server will take for a model.

    Raises:
        NotModelled: the model has parts that the formula knows nothing of, or impossible numbers.
    """
    if model.not_modelled:
        raise NotModelled(
            f"the memory of {model.architecture!r} is not modelled: {', '.join(model.not_modelled)}"
        )
    slots = setting.parallel or SLOTS
    # Slots that somebody asked for have a cache each.
    streams = setting.parallel or 1
    cells = _padded(-(-(setting.ctx or model.context_length) // streams))
    each = _cache_for_layer(model, setting, cells * streams)
    first, has_output = _offloaded(model, setting)
    on_gpu = slice(first, None)
    on_cpu = slice(None, first)
    compute = _compute(model, setting, cells)
    # The host hands the GPU its input: the vectors of the words, and the masks.
    fed = BATCH * (model.embedding * F32 + _mask(model, cells) * F16)
    is_split = first > 0 or not has_output
    vram = Share(
        weights=sum(model.layer_sizes[on_gpu])
        + (model.output_size + model.input_size * model.is_tied if has_output else 0),
        cache=sum(each[on_gpu]),
        compute=max(compute, _unpacked(model, setting, cells * streams)) if has_output else 0,
    )
    ram = Share(
        weights=model.input_size
        + sum(model.layer_sizes[on_cpu])
        + (0 if has_output else model.output_size),
        cache=sum(each[on_cpu]),
        compute=compute if is_split else fed,
        output=slots * model.vocabulary * F32,
    )
    if vram.total + ram.total > SIZE_MAX:
        raise NotModelled("by its numbers it takes more memory than any machine has")
    return Estimate(
        cells * streams, slots, vram, ram, model.less, tuple(_approximate(model, setting))
    )


def _offloaded(model: Model, setting: Setting) -> tuple[int, bool]:
    """Return the first layer on the GPU, and whether the output is there."""
    wanted = model.layers + 1 if setting.gpu_layers is None else setting.gpu_layers
    return max(0, min(model.layers, model.layers + 1 - wanted)), wanted > 0


def _cache_for_layer(model: Model, setting: Setting, cells: int) -> list[int]:
    keys, values = BLOCK_BY_NAME[setting.cache_type_k], BLOCK_BY_NAME[setting.cache_type_v]
    return [
        cells * (keys.row(heads * model.key_length) + values.row(heads * model.value_length))
        for heads in model.kv_heads
    ]


def _mask(model: Model, cells: int) -> int:
    """Return the cells that masks of one token cover; a sliding window has one of its own."""
    if not model.window:
        return cells
    return cells + _padded(min(cells, model.window + BATCH))


def _compute(model: Model, setting: Setting, cells: int) -> int:
    width, inner = model.embedding, model.feed_forward
    vectors = 5 * width + 3 * inner + (inner if inner <= width else 0)
    if model.experts_used:
        inner = model.experts_used * (model.experts_feed_forward or model.feed_forward)
        vectors = max(5 * width + 3 * inner, 2 * (model.experts_used * width + inner))
    mask = _mask(model, cells)
    each = (vectors + INPUTS) * F32 + mask * F16
    if not setting.flash_attention:
        # The scores of every head over every cell, whole, in place of the feed-forward's vectors.
        heads = max(model.heads)
        scores = (6 * width + INPUTS + 2 * max(model.kv_heads) * model.key_length) * F32
        each = max(each + mask * F16, scores + cells * heads * F32 + mask * F32)
    return BATCH * each


def _unpacked(model: Model, setting: Setting, cells: int) -> int:
    """Return what a GPU computes attention in where the cache is packed: it unpacks a layer's.

    Measured on CUDA with flash attention; cells are those of all slots.
    """
    kinds = ((setting.cache_type_k, model.key_length), (setting.cache_type_v, model.value_length))
    numbers = sum(length for kind, length in kinds if kind not in _PLAIN)
    if not numbers:
        return 0
    each = (6 * model.embedding + INPUTS) * F32 + _mask(model, cells) * F16
    return cells * max(model.kv_heads) * numbers * F16 + BATCH * each


def _approximate(model: Model, setting: Setting) -> list[str]:
    found = []
    if model.experts_used:
        found.append("the compute buffer of a mixture of experts is known within a quarter")
    if not setting.flash_attention:
        found.append("the compute buffer without flash attention is known within a tenth")
    return found


def _padded(cells: int) -> int:
    return -(-cells // PADDING) * PADDING
