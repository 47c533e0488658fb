"""What decisions cost: cores as they are in daily use, driven without a World."""

import statistics
from collections.abc import Iterator
from random import Random
from time import perf_counter_ns

from proxycore import (
    Admit,
    Cause,
    Core,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Effect,
    Explained,
    Placement,
    RequestArrived,
    RequestFinished,
    RunGone,
    RunReady,
    ServiceId,
    ServiceSpec,
    StartRun,
    StopRun,
    TicketId,
)
from proxycore.config import GIB

GPU0, GPU1, RAM = DeviceId("gpu0"), DeviceId("gpu1"), DeviceId("ram")
SERVICES = 20
QUEUED = (ServiceId("s01"), ServiceId("s02"))
"""Services whose places are taken, and for which others wait."""
ASKED = ServiceId("s05")
PLACES = 4
WAIT_S = 600.0
GONE = Cause("exit", "it ended")


def request_us(waiting: int, requests: int = 20_000) -> float:
    """Return what one request costs: its arrival, its end, and the deadline after each.

    All but two of the services are ready, and nobody wants room.
    """
    core, ticket = _busy(waiting)
    now, took = 1.0, []
    for number in range(ticket + 1, ticket + 1 + requests):
        now += 0.01
        begin = perf_counter_ns()
        core.handle(RequestArrived(TicketId(number), ASKED, now + WAIT_S), now)
        core.deadline()
        core.handle(RequestFinished(TicketId(number)), now)
        core.deadline()
        took.append(perf_counter_ns() - begin)
    return statistics.median(took) / 1e3


def place_us(waiting: int, requests: int = 5_000) -> float:
    """Return what it costs where somebody waits: one joins the queue, one gets a place."""
    core, ticket = _busy(waiting)
    now, took = 1.0, []
    for number in range(ticket + 1, ticket + 1 + requests):
        now += 0.01
        served = next(iter(core.books.services[QUEUED[0]].in_flight))
        begin = perf_counter_ns()
        core.handle(RequestArrived(TicketId(number), QUEUED[0], now + 1e6), now)
        core.deadline()
        core.handle(RequestFinished(served), now)
        core.deadline()
        took.append(perf_counter_ns() - begin)
    return statistics.median(took) / 1e3


def _busy(waiting: int) -> tuple[Core, int]:
    """Return a core with ready services, so many who wait, and the last ticket."""
    place = Placement.of([(GPU0, GIB), (RAM, GIB)])
    specs = tuple(
        ServiceSpec(
            ServiceId(f"s{number:02}"),
            (place,),
            idle_s=300.0,
            concurrent_max=PLACES,
            queue_max=10**6,
        )
        for number in range(SERVICES)
    )
    devices = (DeviceSpec(GPU0, 100 * GIB), DeviceSpec(RAM, 100 * GIB))
    core, ticket = Core(CoreConfig(devices, specs), now=0.0), 0
    for spec in specs[2:]:
        ticket = _ready(core, spec.id, ticket)
        core.handle(RequestFinished(TicketId(ticket)), 0.0)
    for service in QUEUED:
        ticket = _ready(core, service, ticket)
        for _ in range(PLACES - 1 + waiting // len(QUEUED)):
            ticket += 1
            core.handle(RequestArrived(TicketId(ticket), service, 1e6), 0.0)
    return core, ticket


def _ready(core: Core, service: ServiceId, ticket: int) -> int:
    core.handle(RequestArrived(TicketId(ticket + 1), service, 1e6), 0.0)
    core.handle(RunReady(service, core.books.run_max), 0.0)
    return ticket + 1


def eviction_p99_ms(seeds: int = 4) -> float:
    """Return how long the decision of who leaves takes, in the slowest of a hundred cases.

    Services of all sizes ask in turn for two GPUs and main memory that hold some 12 of them, each
    may live on either GPU, and the large ones on both.
    """
    took = sorted(ms for seed in range(seeds) for ms in _evictions(Random(seed)))
    return took[len(took) * 99 // 100]


def _evictions(random: Random, requests: int = 1000) -> Iterator[float]:
    devices = (DeviceSpec(GPU0, 32 * GIB), DeviceSpec(GPU1, 32 * GIB), DeviceSpec(RAM, 26 * GIB))
    services = tuple(_any_size(ServiceId(f"s{n:02}"), random) for n in range(SERVICES))
    core, now = Core(CoreConfig(devices, services, linger=False), now=0.0), 0.0
    for number in range(1, requests + 1):
        now += random.expovariate(1 / 20)
        arrived = RequestArrived(TicketId(number), random.choice(services).id, now + WAIT_S)
        begin = perf_counter_ns()
        effects = core.handle(arrived, now)
        took = perf_counter_ns() - begin
        if any(isinstance(effect, Explained) for effect in effects):
            yield took / 1e6
        _obey(core, list(effects), now)


def _any_size(service: ServiceId, random: Random) -> ServiceSpec:
    gib = random.choice((1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 20)) * random.uniform(0.8, 1.2)
    size, ram = int(gib * GIB), int(gib * GIB / 3)
    placements = [Placement.of([(gpu, size), (RAM, ram)]) for gpu in (GPU0, GPU1)]
    if gib > 8:
        placements.append(Placement.of([(GPU0, size // 2), (GPU1, size // 2), (RAM, ram)]))
    return ServiceSpec(service, tuple(placements), load_s=random.uniform(2, 60))


def _obey(core: Core, effects: list[Effect], now: float) -> None:
    """Do at once what the core asks for; nobody is served for longer than a moment."""
    for effect in effects:  # What follows joins the list.
        match effect:
            case StopRun():
                effects += core.handle(RunGone(effect.service, effect.run, GONE), now)
            case StartRun():
                effects += core.handle(RunReady(effect.service, effect.run), now)
            case Admit():
                effects += core.handle(RequestFinished(effect.ticket), now)
            case _:
                pass
