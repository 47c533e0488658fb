"""Which changes of llama-server's options make a model fit: the smallest of each kind, computed."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs

from ._estimate import Estimate, Setting, estimate
from ._model import Model
from ._types import BLOCK_BY_NAME

CTX_STEP = 1024
"""Tokens of a slot: people write multiples of it, and less is of little use to anybody."""
CACHE_TYPES = ("q8_0", "q4_0")
"""What is offered in place of a larger type, the better one first."""
LAYER_STEPS = 128
"""How many numbers of layers are tried at most: more than any common model has."""

Fits: TypeAlias = Callable[[Estimate], bool]


def smaller(model: Model, setting: Setting, fits: Fits) -> tuple[Setting, ...]:
    """Return the settings that fit and differ least from one that does not.

    Each changes one thing, as little as will do: the context, the type of the cache, or the layers
    on the GPU.  Where none of these does, the first two together; where they do not, nothing.

    Args:
        model: what the file says.
        setting: what is wanted; its `gpu_layers` are 0 where no GPU is used.
        fits: tells whether there is room for an estimate.

    Raises:
        NotModelled: nothing can be estimated of this model.
    """

    def fit(one: Setting) -> bool:
        return fits(estimate(model, one))

    caches = list(_caches(model, setting))
    single = (
        _context(model, setting, fit),
        next(filter(fit, caches), None),
        _layers(model, setting, fit),
    )
    both = (_context(model, cache, fit) for cache in caches)
    found = tuple(one for one in single if one is not None)
    return found or tuple(one for one in both if one is not None)[:1]


def _context(model: Model, setting: Setting, fit: Callable[[Setting], bool]) -> Setting | None:
    step = CTX_STEP * (setting.parallel or 1)
    shorter = range(step, setting.ctx or model.context_length, step)
    count = bisect_left(shorter, True, key=lambda ctx: not fit(attrs.evolve(setting, ctx=ctx)))
    return attrs.evolve(setting, ctx=shorter[count - 1]) if count else None


def _caches(model: Model, setting: Setting) -> Iterator[Setting]:
    """Yield the setting with every smaller type of the cache that llama.cpp takes."""
    for name in CACHE_TYPES:
        block = BLOCK_BY_NAME[name]
        if model.key_length % block.elements or model.value_length % block.elements:
            continue
        # Without flash attention the values are not quantised.
        values = setting.cache_type_v if not setting.flash_attention else name
        smaller = attrs.evolve(setting, cache_type_k=name, cache_type_v=values)
        if _row(smaller) < _row(setting):
            yield smaller


def _row(setting: Setting) -> int:
    types = (setting.cache_type_k, setting.cache_type_v)
    return sum(BLOCK_BY_NAME[one].row(256) for one in types)


def _layers(model: Model, setting: Setting, fit: Callable[[Setting], bool]) -> Setting | None:
    every = model.layers + 1
    now = every if setting.gpu_layers is None else min(every, setting.gpu_layers)
    fewer = range(now - 1, 0, -max(1, now // LAYER_STEPS))
    settings = (attrs.evolve(setting, gpu_layers=count) for count in fewer)
    return next(filter(fit, settings), None)
