"""What would make a model fit into memory, in the words of llama.cpp's options."""

from collections.abc import Callable

from proxyserver._amounts import in_gib
from proxyserver.gguf import Estimate, Model, Setting, estimate, smaller

from ._protocol import Need, Room

SMALLER = (
    "lower `ctx` or `gpu_layers`, take a smaller `cache_type_k` and `cache_type_v`, or claim more "
    "`memory` so that others make room"
)
"""Where nothing can be computed."""


def remedy(
    model: Model,
    setting: Setting,
    need_of: Callable[[Estimate], Need],
    room: Room,
    *,
    cache_ram: int = 0,
) -> str:
    """Tell what a model takes by estimate, and the smallest changes with which it would fit.

    What was seen to want more than the estimate is taken to be so much larger with any setting.

    Args:
        model: what its file says.
        setting: how it is to be run; its `gpu_layers` are 0 where no GPU is used.
        need_of: adds what the server takes beside the model.
        room: what there is.
        cache_ram: what of main memory is for prompts, and needed for nothing else.
    """
    now = need_of(estimate(model, setting))
    vram = _limit(room.vram, now.vram, room.wanted_vram)
    ram = _limit(room.ram, now.ram, room.wanted_ram)
    takes = f"by estimate it takes {in_gib(now.ram)} of main memory"
    if now.vram:
        takes = f"by estimate it takes {in_gib(now.vram)} of vram and {in_gib(now.ram)} of ram"

    def fits(found: Estimate) -> bool:
        need = need_of(found)
        return need.vram <= vram and need.ram <= ram

    if now.vram <= vram and now.ram <= ram:
        was_full = room.wanted_vram or room.wanted_ram
        return f"{takes}: {SMALLER}" if was_full else f"{takes}, which there is"
    if now.vram <= vram and now.ram - ram <= cache_ram:
        left = (cache_ram - now.ram + ram) >> 20
        return f"{takes}: lower `cache_ram` from {in_gib(cache_ram)} to {left}MiB"
    changes = [_words(model, setting, one) for one in smaller(model, setting, fits)]
    if not changes:
        return f"{takes}, and no shorter `ctx` or smaller cache suffices: take a smaller model"
    return f"{takes}: {', or '.join(changes)}"


def _limit(most: int, now: int, wanted: int) -> int:
    return most * now // wanted if wanted > now else most


def _words(model: Model, old: Setting, new: Setting) -> str:
    said = []
    if new.ctx != old.ctx:
        said.append(
            f"lower `ctx` from {old.ctx} to {new.ctx}"
            if old.ctx
            else f"set `ctx` to {new.ctx} (left out, it is {model.context_length})"
        )
    types = (new.cache_type_k, new.cache_type_v)
    if types != (old.cache_type_k, old.cache_type_v):
        both = types[0] == types[1]
        keys = "`cache_type_k` and `cache_type_v`" if both else "`cache_type_k`"
        said.append(f"set {keys} to {new.cache_type_k}")
    if new.gpu_layers != old.gpu_layers:
        said.append(f"set `gpu_layers` to {new.gpu_layers} (of {model.layers + 1})")
    return " and ".join(said)
