"""What vLLM's own lines say of memory, as values for its options."""

import math
import re

from proxyserver._amounts import in_gib

from ._protocol import Need, Room

_PRECHECK = re.compile(
    r"\(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU memory utilization"
    r"(?: \(([\d.]+), ([\d.]+) GiB\))?"
)
_LENGTH = re.compile(r"estimated maximum model length is ([\d,]*\d)")
_WANTED = re.compile(r"max seq len \(([\d,]+)\)")
LACKING = r"Available KV cache memory: -([\d.]+) GiB"


def make_room(line: str) -> str:
    """Tell of which share would have been free, where others held more than it was to leave."""
    general = "Others held the GPU: lower `gpu_memory_utilization`{}, or claim more memory so that"
    found = _PRECHECK.search(line)
    share = "" if found is None else f" to {_share(float(found[1]) / float(found[2]))}"
    needed = ""
    if found is not None and found[4] is not None:
        needed = f"It needs {found[4]} GiB, and {found[1]} GiB were free. "
    return f"{needed}{general.format(share)} they make room."


def shorten(line: str) -> str:
    """Tell which length would do."""
    found, wanted = _LENGTH.search(line), _WANTED.search(line)
    to = "" if found is None else f" to {_plain(found[1])}"
    come_from = f" from {_plain(wanted[1])}" if wanted is not None and to else ""
    return (
        f"Lower `max_model_len`{come_from}{to}, raise `gpu_memory_utilization`, or set "
        "`kv_cache_dtype: fp8`."
    )


def give_more(line: str) -> str:
    """Tell how much is lacking before there is any cache."""
    found = re.search(LACKING, line)
    lacking = "" if found is None else f" by more than {found[1]} GiB of the GPU"
    return (
        f"The weights leave no room for a cache: raise `gpu_memory_utilization`{lacking}, or take "
        "a smaller model or `quantization`."
    )


def smaller_share(need: Need, room: Room) -> str:
    """Tell which share of the GPUs would be free for a server that takes a share of them."""
    if not room.vram_total or room.vram >= need.share * room.vram_total:
        return ""
    share = _share(room.vram / room.vram_total)
    return f"it takes {need.share:.0%} of each GPU: lower `gpu_memory_utilization` to {share}"


def smaller_cache(need: Need, cache: int, room: Room) -> str:
    """Tell how large a cache would fit beside the weights."""
    there = room.vram if need.vram else room.ram
    over = (need.vram or need.ram) - there
    takes = f"by estimate it takes {in_gib(need.vram or need.ram)}"
    if over <= 0:
        return f"{takes}, which there is"
    if over >= cache:
        return f"{takes}, most of it weights: take a smaller model"
    return f"{takes}: lower `kv_cache_memory` from {in_gib(cache)} to {(cache - over) >> 20}MiB"


def _share(share: float) -> str:
    """Write a share rounded down: what is free must suffice."""
    return f"{math.floor(share * 100) / 100:.2f}"


def _plain(number: str) -> str:
    return number.replace(",", "")
