"""What is made of a head: the model, and the memory that it will take."""

from typing import Any

import pytest

from proxyserver.gguf import (
    Estimate,
    GgufError,
    Model,
    NotModelled,
    Setting,
    Share,
    estimate,
    model_of,
    parse_head,
)

from .writing import Tensor, Value, dense, dense_tensors, head, size_of, words

LAYERS = 6
LAYER = sum(size_of(shape, kind) for name, shape, kind in dense_tensors(1) if name[:3] == "blk")
EMBEDDING = size_of((1024, 512), "q8_0")
NORM = 1024 * 4


def model(metadata: dict[str, Value] | None = None, *, is_tied: bool = True) -> Model:
    tensors = dense_tensors(LAYERS, is_tied=is_tied)
    return model_of([parse_head(head((metadata or dense(LAYERS)) | words(), tensors))])


def found(own: Model | None = None, **setting: Any) -> Estimate:
    return estimate(own or model(), Setting(**setting))


def test_model() -> None:
    """All that matters is read, and what the file leaves out is filled in as llama.cpp does."""
    bare = dense(LAYERS)
    for key in ("key_length", "value_length", "head_count_kv"):
        del bare[f"qwen3.attention.{key}"]
    assert model(bare | {"general.name": "A \x1b[31mname"}) == Model(
        architecture="qwen3",
        name="A [31mname",
        quantisation="Q8_0",
        parameters=sum(_elements(shape) for _, shape, _ in dense_tensors(LAYERS)),
        context_length=32768,
        vocabulary=512,
        embedding=1024,
        feed_forward=3072,
        heads=(16,) * LAYERS,
        kv_heads=(16,) * LAYERS,
        key_length=64,
        value_length=64,
        window=0,
        experts=0,
        experts_used=0,
        experts_feed_forward=0,
        input_size=EMBEDDING,
        layer_sizes=(LAYER,) * LAYERS,
        output_size=NORM,
        is_tied=True,
        not_modelled=(),
        less=(),
    )


def _elements(shape: tuple[int, ...]) -> int:
    return size_of(shape, "i8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"general.architecture": "clip"}, "a projector"),
        ({"general.architecture": 7}, "does not tell its architecture"),
        ({"general.architecture": "other"}, "lacks other.block_count"),
        ({"qwen3.block_count": 0}, "impossible qwen3.block_count: 0"),
        ({"qwen3.block_count": 1 << 20}, "impossible qwen3.block_count: 1048576"),
        ({"qwen3.embedding_length": -1}, "impossible qwen3.embedding_length: -1"),
        ({"qwen3.context_length": "long"}, "impossible qwen3.context_length: long"),
        ({"qwen3.attention.head_count_kv": [1, 2]}, "for 2 of its 6 layers"),
    ],
)
def test_models_that_cannot_be(change: dict[str, Value], said: str) -> None:
    """A number that is missing or impossible is refused by its key."""
    with pytest.raises(GgufError, match=said):
        model(dense(LAYERS) | change)


def test_weights_of_no_machine() -> None:
    """Tensors that are each believed are not believed together."""
    tensors: list[Tensor] = [(f"{number}", (1 << 57,), "f32") for number in range(3)]
    with pytest.raises(GgufError, match="more weights than any machine"):
        model_of([parse_head(head(dense(LAYERS) | words(), tensors))])


def test_memory_of_no_machine() -> None:
    """Numbers that are each believed are not believed together, and can always be printed."""
    with pytest.raises(NotModelled, match="more memory than any machine"):
        found(model(dense(LAYERS, kv_heads=1 << 30)), ctx=1 << 31)


@pytest.mark.parametrize(
    ("key_type", "value_type", "size"),
    [
        ("f32", "f32", 1024 * 8),
        ("f16", "f16", 1024 * 4),
        ("q8_0", "q8_0", 32 * 34 * 2),
        ("q8_0", "q4_0", 32 * (34 + 18)),
        ("q5_1", "iq4_nl", 32 * (24 + 18)),
    ],
)
def test_cache_by_type(key_type: str, value_type: str, size: int) -> None:
    """Keys and values take what their own types take."""
    cache = found(ctx=4096, parallel=1, cache_type_k=key_type, cache_type_v=value_type).vram.cache
    assert cache == LAYERS * 4096 * size


@pytest.mark.parametrize(
    ("ctx", "parallel", "cells", "mask"),
    [
        (4096, 1, 4096, 4096),
        (4096, 4, 4096, 1024),  # A cache for each slot.
        (4096, None, 4096, 4096),  # One for all.
        (1000, 3, 3 * 512, 512),  # Rounded up for each.
        (0, 1, 32768, 32768),
        (None, None, 32768, 32768),
    ],
)
def test_context_and_slots(ctx: int | None, parallel: int | None, cells: int, mask: int) -> None:
    """The context is over all slots, and rounded as llama-server rounds it."""
    one = found(ctx=ctx, parallel=parallel, gpu_layers=0)
    assert (one.ctx, one.slots) == (cells, parallel or 4)
    assert one.ram.cache == LAYERS * cells * 1024 * 4
    assert one.ram.compute == 512 * ((5 * 1024 + 3 * 3072 + 10) * 4 + mask * 2)
    assert one.ram.output == one.slots * 512 * 4


@pytest.mark.parametrize(
    ("ctx", "cache", "mib"),
    [
        (4096, "f16", 30.01),
        (16384, "f16", 42.01),
        (32768, "f16", 58.01),
        (4096, "q8_0", 32.09),
        (16384, "q8_0", 92.09),
        (32768, "q8_0", 172.09),
    ],
)
def test_a_gpu_unpacks_its_cache(ctx: int, cache: str, mib: float) -> None:
    """What llama-server reserved on an H200 (docs/reference/memory.md), or a little more."""
    vram = found(ctx=ctx, cache_type_k=cache, cache_type_v=cache).vram
    assert vram.compute / 2**20 == pytest.approx(mib, rel=0.07)


def test_kv_heads_by_layer() -> None:
    """A model may have another number of them in each layer, none included."""
    own = model(dense(LAYERS, kv_heads=[8, 0, 4, 4, 2, 0]))
    assert found(own, ctx=256, parallel=1).vram.cache == 256 * 18 * 128 * 4
    # The last two layers and the output.
    assert found(own, ctx=256, parallel=1, gpu_layers=3).vram.cache == 256 * 2 * 128 * 4


@pytest.mark.parametrize(
    ("gpu_layers", "on_gpu"), [(0, 0), (1, 0), (3, 2), (6, 5), (7, 6), (99, 6), (None, 6)]
)
def test_partial_offload(gpu_layers: int | None, on_gpu: int) -> None:
    """Layers go to the GPU from the last on, the output first; the input stays."""
    one = found(model(is_tied=False), ctx=256, parallel=1, gpu_layers=gpu_layers)
    cache = 256 * 1024 * 4
    output = (EMBEDDING + NORM) * (gpu_layers != 0)
    assert one.vram.weights == on_gpu * LAYER + output
    assert one.ram.weights == 2 * EMBEDDING + NORM + (LAYERS - on_gpu) * LAYER - output
    assert (one.vram.cache, one.ram.cache) == (on_gpu * cache, (LAYERS - on_gpu) * cache)


def test_tied_output_is_there_twice() -> None:
    """The GPU gets a copy of the words' weights where they serve for the output too."""
    one = found(ctx=256)
    assert one.vram.weights == LAYERS * LAYER + NORM + EMBEDDING
    assert one.ram.weights == EMBEDDING
    assert found(ctx=256, gpu_layers=0).vram == Share()
    assert found(ctx=256, gpu_layers=0).ram.weights == EMBEDDING + LAYERS * LAYER + NORM


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("attention__kv_lora_rank", 512, "compressed"),
        ("attention__indexer__top_k", 64, "index"),
        ("ssm__state_size", 16, "recurrent"),
        ("shortconv__l_cache", 3, "recurrent"),
        ("attention__causal", False, "encoder"),
    ],
)
def test_what_is_not_modelled_is_said(key: str, value: Value, said: str) -> None:
    """No guess at caches of another kind; the model can still be looked at."""
    own = model(dense(LAYERS, **{key: value}))
    assert own.layers == LAYERS
    with pytest.raises(NotModelled, match=said):
        found(own)


def test_sliding_window_is_an_upper_bound() -> None:
    """The cache is that of the whole context, and it is said that it may be smaller."""
    own = model(dense(LAYERS, attention__sliding_window=512))
    one, plain = found(own, ctx=8192), found(ctx=8192)
    assert one.vram.cache == plain.vram.cache
    assert plain.at_most == ()
    assert one.at_most == ("layers with a sliding window are counted with the whole context",)
    # Its masks are two: one over the window and a batch, and one over all.
    assert one.vram.compute - plain.vram.compute == 512 * 1024 * 2
    assert own.window == 512
