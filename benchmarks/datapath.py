"""The data path: what a request, a token and a byte cost more through the proxy than without."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan

from proxyserver.parts import cache_folder
from tests.daemon.rig import process_flavour
from tests.rig.mock import CompilerMissing as CompilerMissing
from tests.rig.mock import build_mock

from . import _readiness
from ._ground import DIRECT, Ground, checked, fresh, ground, largest
from ._harness import Figure
from ._load import LoadFailed as LoadFailed
from ._subjects import mocks
from ._targets import MODEL, OWN, Runner, by_command, path_alone
from ._targets import ReferenceMissing as ReferenceMissing

CONNECTIONS = 32
REQUEST_S = 1.0
ROUNDS = 5
EVERY_US = 20_000
"""50 tokens a second."""
STREAMS = 100
STREAM_S = 2.0
STREAM_ROUNDS = 3
RUNGS = (25, 50, 100, 150, 200, 300, 400, 600, 800, 1000, 1200)
"""Above that, clients and upstream alone fill their processor."""
HELD_P99_US = 20_000.0
HELD_TRIES = 2
BURST = 300_000
SHORT_S = 0.1
GIB = 1 << 30
BULK = GIB // 2
BULK_ROUNDS = 3
ENDLESS = 1 << 40
BESIDE = 20
"""Streams of tokens beside a download."""
SLOW = 256 << 20
"""What a slow reader, or a slow upstream, takes in a second."""
CANCELS = 400
PREFIX = f"/service/{MODEL}"
"""By this way bodies of any size pass."""


def measure(
    beside: Mapping[str, str] | None = None, only: Collection[str] = ()
) -> Sequence[Figure]:
    """Return the figures of the data path.

    Args:
        beside: Other proxies to put into the table, by name: the command of each.
        only: Which of `PARTS` to measure; nothing: all.
    """
    others = {name: by_command(name, command) for name, command in (beside or {}).items()}
    runners: Mapping[str, Runner] = {**OWN, **others}
    load_average, *_ = os.getloadavg()
    print(f"load average before: {load_average:.1f} (quiet: below 0.3)")
    with ground(runners) as on:
        for name, part in PARTS.items():
            if not only or name in only:
                part(on, list(others))
        print_table(on, [DIRECT, *OWN, *others])
    return [figure for figure in figures(on) if not isnan(figure.value)]


def figures(on: Ground) -> Sequence[Figure]:
    """Set what was measured beside what is promised."""
    median, over = on.samples.median, on.samples.over
    # 18,000 a second, or a quarter of nginx: what the machine gives decides which is asked for.
    quarter = min(0.25, 18_000 / median("nginx", "rate"))
    direct_us = median(DIRECT, "p50_us")
    return (
        Figure("cpu_per_request_over_nginx", over("path", "nginx", "request_us"), at_most=4.0),
        Figure("cpu_per_chunk_over_nginx", over("path", "nginx", "chunk_us"), at_most=2.5),
        Figure("added_p50_us", median("path", "p50_us") - direct_us, at_most=45.0),
        Figure("requests_over_nginx_c32", over("path", "nginx", "rate"), at_least=quarter),
        Figure("streams_held", median("path", "held"), at_least=800),
        Figure("burst_over_nginx", over("path", "nginx", "burst"), at_least=0.9),
        Figure("download_over_direct", over("path", DIRECT, "download"), at_least=0.95),
        Figure("upload_over_direct", over("path", DIRECT, "upload"), at_least=0.45),
        Figure("token_p50_ms_beside_bulk", median("path", "beside_p50_ms"), at_most=1.5),
        Figure("token_p99_ms_beside_bulk", median("path", "beside_p99_ms"), at_most=6.0),
        Figure("upload_1gb_extra_mib", median("path", "upload_mib"), at_most=4.0),
        Figure("slow_reader_extra_mib", median("path", "slow_reader_mib"), at_most=4.0),
        Figure("cancel_p99_ms", median("path", "cancel_p99_ms"), at_most=5.0),
        Figure(
            "shipped_cpu_per_request_over_nginx",
            over("shipped", "nginx", "request_us"),
            at_most=8.0,
        ),
        Figure("shipped_added_p50_us", median("shipped", "p50_us") - direct_us, at_most=90.0),
        Figure("shipped_requests_c32", median("shipped", "rate"), at_least=10_000),
        Figure("shipped_cpu_per_chunk_over_nginx", over("shipped", "nginx", "chunk_us")),
        Figure("shipped_burst_over_nginx", over("shipped", "nginx", "burst")),
        Figure("shipped_cancel_p99_ms", median("shipped", "cancel_p99_ms")),
        Figure("cold_added_ms", median("path", "cold_ms"), at_most=15.0),
    )


@contextmanager
def _forgiven(name: str) -> Iterator[None]:
    """Go on without a figure where another proxy than ours or the references cannot keep up."""
    try:
        yield
    except LoadFailed as failed:
        if name in OWN or name == DIRECT:
            raise
        print(f"{name}: {failed}")


def requests(on: Ground, names: Sequence[str]) -> None:
    """Measure short questions from many clients."""
    for name in on.rounds(names, ROUNDS):
        with _forgiven(name):
            numbers = checked(
                name,
                on.load(
                    "requests",
                    on.port(name),
                    connections=CONNECTIONS,
                    seconds=REQUEST_S,
                    pids=on.targets[name].pids,
                ),
            )
            answers = numbers["answers"]
            on.samples.add(
                name,
                rate=answers / numbers["seconds"],
                request_us=numbers["cpu_ns"] / answers / 1000,
            )


def latency(on: Ground, names: Sequence[str]) -> None:
    """Measure short questions of one client, with everything on one processor."""
    for name in on.rounds(names, ROUNDS):
        with _forgiven(name):
            with on.one_processor(name):
                numbers = checked(name, on.load("requests", on.port(name), seconds=REQUEST_S / 2))
            on.samples.add(name, p50_us=numbers["p50_us"])


def chunks(on: Ground, names: Sequence[str]) -> None:
    """Measure what a token costs in a hundred streams, and how late it comes."""
    for name in on.rounds(names, STREAM_ROUNDS):
        with _forgiven(name):
            numbers = checked(name, _streams(on, name, STREAMS))
            on.samples.add(
                name,
                chunk_us=numbers["cpu_ns"] / numbers["tokens"] / 1000,
                delay_p50_us=numbers["p50_us"],
                delay_p99_us=numbers["p99_us"],
            )


def _streams(on: Ground, name: str, connections: int) -> Mapping[str, float]:
    return on.load(
        "streams",
        on.port(name),
        connections=connections,
        every_us=EVERY_US,
        seconds=STREAM_S,
        pids=on.targets[name].pids,
    )


def held(on: Ground, names: Sequence[str]) -> None:
    """Measure how many streams get their tokens in time."""
    for name in names:
        on.samples.add(name, held=_held(on, name))


def _held(on: Ground, name: str) -> int:
    def holds(connections: int) -> bool:
        for _ in range(HELD_TRIES):
            numbers = _streams(on, name, connections)
            in_time = 0 <= numbers["p99_us"] < HELD_P99_US
            if in_time and not numbers["broken"]:
                return True
        return False

    return largest(RUNGS, holds)


def bursts(on: Ground, names: Sequence[str]) -> None:
    """Measure one stream that comes as fast as it is taken."""
    for name in on.rounds(names, STREAM_ROUNDS):
        numbers = on.load("burst", on.port(name), tokens=BURST // 20)
        if numbers["seconds"] < SHORT_S:  # Fast enough that it takes more to tell.
            numbers = on.load("burst", on.port(name), tokens=BURST)
        on.samples.add(name, burst=numbers["tokens"] / numbers["seconds"])


def bulk(on: Ground, names: Sequence[str]) -> None:
    """Measure large bodies, both ways."""
    for name in on.rounds(names, BULK_ROUNDS):
        for way in ("download", "upload"):
            numbers = on.across(name)(way, on.port(name), path=PREFIX, bytes=BULK)
            on.samples.add(name, **{way: numbers["bytes"] / numbers["seconds"]})


def beside_bulk(on: Ground, names: Sequence[str]) -> None:
    """Measure how late tokens come while somebody downloads without end."""
    for name in on.rounds(names, STREAM_ROUNDS):
        with on.load.running("download", on.port(name), path=PREFIX, bytes=ENDLESS):
            numbers = checked(name, _streams(on, name, BESIDE))
        on.samples.add(
            name, beside_p50_ms=numbers["p50_us"] / 1000, beside_p99_ms=numbers["p99_us"] / 1000
        )


def cancels(on: Ground, names: Sequence[str]) -> None:
    """Measure how soon the upstream sees that a client has left."""
    for name in names:
        before = set(on.upstream.left())
        _, left = on.load.told("cancel", on.port(name), times=CANCELS, first=len(before) + 1)
        time.sleep(0.5)
        seen = on.upstream.left()
        if missing := len(set(left) - set(seen)):
            raise LoadFailed(f"{name}: {missing} of {CANCELS} streams go on without their client")
        took = sorted((seen[number] - at) / 1e6 for number, at in left.items())
        on.samples.add(name, cancel_p99_ms=took[len(took) * 99 // 100])


def memory(on: Ground) -> None:
    """Measure how much a proxy that has done nothing yet grows by one large body."""
    for key, way, settings in (
        ("upload_mib", "upload", {"bytes": GIB, "rate": SLOW}),
        ("slow_reader_mib", "download", {"bytes": GIB, "rate": SLOW}),
    ):
        with fresh(on, "path", path_alone) as target:
            on.load("requests", target.port, seconds=0.1)
            target.forget_peak()
            before = target.status("VmRSS")
            on.load(way, target.port, path=PREFIX, **settings)
            on.samples.add("path", **{key: (target.status("VmHWM") - before) / 1024})


def cold(on: Ground) -> None:
    """Measure what the path of a request adds to a start."""
    scripted = next(mocks(process_flavour(build_mock(cache_folder()))))
    on.samples.add("path", cold_ms=_readiness.measure(scripted).added_ms)


PARTS: Mapping[str, Callable[[Ground, Sequence[str]], None]] = {
    "requests": lambda on, others: requests(on, [*OWN, *others]),
    "latency": lambda on, others: latency(on, [DIRECT, *OWN, *others]),
    "chunks": lambda on, others: chunks(on, [*OWN, *others]),
    "bursts": lambda on, _: bursts(on, list(OWN)),
    "bulk": lambda on, _: bulk(on, [DIRECT, "nginx", "haproxy", "path"]),
    "beside_bulk": lambda on, _: beside_bulk(on, ["nginx", "haproxy", "path"]),
    "cancels": lambda on, _: cancels(on, list(OWN)),
    "held": lambda on, _: held(on, ["nginx", "path"]),
    "memory": lambda on, _: memory(on),
    "cold": lambda on, _: cold(on),
}
"""What can be measured by itself: how, beside which others."""

COLUMNS: Sequence[tuple[str, str, float]] = (
    ("cpu us/request", "request_us", 1),
    ("requests/s", "rate", 1),
    ("p50 us, 1 cpu", "p50_us", 1),
    ("cpu us/chunk", "chunk_us", 1),
    ("delay p50 us", "delay_p50_us", 1),
    ("delay p99 us", "delay_p99_us", 1),
    ("streams held", "held", 1),
    ("burst k/s", "burst", 1e-3),
    ("down MB/s", "download", 1e-6),
    ("up MB/s", "upload", 1e-6),
    ("beside p50 ms", "beside_p50_ms", 1),
    ("beside p99 ms", "beside_p99_ms", 1),
    ("cancel p99 ms", "cancel_p99_ms", 1),
)
"""Head, key, and the factor for the unit of the head."""


def print_table(on: Ground, names: Sequence[str]) -> None:
    """Print the medians of all that was measured, a line for each measure."""
    print(f"\n{'medians':16}" + "".join(f"{name:>12}" for name in names))
    for head, key, factor in COLUMNS:
        values = [on.samples.median(name, key) * factor for name in names]
        cells = ("" if value != value else f"{value:.4g}" for value in values)
        print(f"{head:16}" + "".join(f"{cell:>12}" for cell in cells))
    print()
