"""Clients that hang up leave nothing: no descriptor, no task, no connection, no memory."""

import gc
import os
import random
import tracemalloc
import weakref
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from .rig import EVENTS, LANE, PATIENCE_S, PROMPT_S, Rig, Wire, chunk, raw, running

ABORTS = int(os.environ.get("AIPROXY_TEST_ABORTS", "480"))
"""How many requests are aborted in all; ten thousand take some minutes."""
AT_ONCE = 20
PARTS = 3
"""What leaks, leaks in each part; what a table takes that grows, in one."""
BYTES_EACH = 200
"""A leak of anything is larger: an event of Trio alone takes as much."""
STAGES = {
    "waiting": raw("POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: 9"),
    "uploading": raw(
        "POST /service/coder/x HTTP/1.1\nHost: localhost\nContent-Length: 1000000", bytes(50_000)
    ),
    "streaming": raw("GET /service/coder/stream HTTP/1.1\nHost: localhost"),
    "at any time": raw("GET /service/coder/stream HTTP/1.1\nHost: localhost"),
}


async def upstream(wire: Wire) -> None:
    """Read for ever; answer the questions that want a stream with its beginning."""
    with suppress(trio.BrokenResourceError):
        while await wire.more():
            if b"/stream HTTP/1.1\r\n" in wire.buffer:
                await wire.send(EVENTS + chunk(b"data: 1\n\n"))


async def abort_some(rig: Rig, stage: str, chance: random.Random) -> None:
    """Begin requests, bring them all to this stage, and hang up."""
    wires = [await rig.ask(STAGES[stage]) for _ in range(AT_ONCE)]
    if stage == "waiting":
        await come(lambda: rig.conductor.waiting == AT_ONCE)
    elif stage == "uploading":
        await come(lambda: sum(len(one.buffer) > 10_000 for one in rig.upstreams) == AT_ONCE)
    elif stage == "streaming":
        for wire in wires:
            await wire.until(b"data: 1\n\n")
    for wire in wires:
        if stage == "at any time":
            await trio.sleep(chance.random() * 0.002)
        wire.close(reset=chance.random() < 0.5)
    await come(lambda: not rig.conductor.waiting and not rig.conductor.in_flight)
    rig.clients.clear()
    rig.records.clear()
    rig.upstreams.clear()
    rig.conductor.asked.clear()


async def come(holds: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.001)


def held() -> tuple[int, int]:
    """Return how many descriptors and tasks there are."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return descriptors, trio.lowlevel.current_statistics().tasks_living


async def quiet() -> tuple[int, int]:
    """Wait until nothing changes any more; return what is held then."""
    with trio.fail_after(PATIENCE_S):
        last = None
        while (now := held()) != last:
            last = now
            await trio.sleep(PROMPT_S / 10)
    await forget_deadlines()
    gc.collect()
    return last


async def forget_deadlines() -> None:
    """Make Trio forget the deadlines that are over: it waits until there are a thousand of them."""
    with trio.move_on_after(1000) as scope:
        await trio.lowlevel.checkpoint()
    forgotten = weakref.ref(scope)
    del scope
    for _ in range(10_000):
        if forgotten() is None:
            return
        with trio.move_on_after(1000):
            await trio.lowlevel.checkpoint()
    raise AssertionError("Trio keeps all deadlines")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "way"),
    [
        *((stage, "fast") for stage in STAGES),
        ("streaming", "tls"),
        ("at any time", "h2"),
    ],
)
async def test_aborted_requests_leave_nothing(stage: str, way: str) -> None:
    """However many hang up, and wherever: what is held afterwards is what was held before."""
    LANE.set(way)
    chance = random.Random(stage)
    rounds = ABORTS // AT_ONCE // len(STAGES) // PARTS
    async with running(upstream) as rig:
        rig.conductor.hold = trio.Event() if stage == "waiting" else None
        tracemalloc.start()
        try:
            before, memory = await quiet(), []
            for part in range(PARTS + 1):
                for _ in range(rounds):
                    await abort_some(rig, stage, chance)
                after = await quiet()
                if part == 0:
                    before = after  # All that is made once has been made, or almost.
                memory.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        status, _, _ = await rig.get("/health")
    assert all(now <= then for now, then in zip(after, before, strict=True))
    grown = min(later - earlier for earlier, later in pairwise(memory))
    assert grown / (rounds * AT_ONCE) < BYTES_EACH
    assert status == 200
