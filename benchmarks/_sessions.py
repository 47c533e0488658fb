"""Two hard cases of a GPU that is shared: agents that take turns, and the rare beside the busy."""

import attrs

from proxycore import CoreConfig, DeviceSpec, Placement, ServiceId, ServiceSpec, patience_s
from proxycore.sim import Machine, Request, Session, Traffic, simulate
from proxycore.sim.traffic import GB, GPU

A, B = ServiceId("a"), ServiceId("b")
MACHINE = Machine(unload_s=2.0)
DAY_S = 86_400.0
SERVICE_S = 4.0
"""What most requests of the public traces take: the median of their lognormal."""

AGENTS_SWAP_S = 60.0
THINK_S = 3.0

RARE_SWAP_S = 8.0
RARE_EVERY_S = 300.0
BUSY_SERVICE_S = 10.0
BUSY_EVERY_S = 3.7
"""Two or three requests overlap at any time, so that A is never idle by itself."""


def either(swap_s: float) -> CoreConfig:
    """Return a machine with room for A or for B; a swap is the end of one and the other's load."""
    services = tuple(
        ServiceSpec(service, (Placement.of([(GPU, 20 * GB)]),), load_s=swap_s - MACHINE.unload_s)
        for service in (A, B)
    )
    return CoreConfig((DeviceSpec(GPU, 24 * GB, headroom=0),), services)


def two_agents_over_eager() -> float:
    """Return how many more requests two agents get done than by swapping at every question.

    Each is always on its own service.  Eager is the same core, which spares nobody.
    """
    agents = tuple(
        Session(service, SERVICE_S, THINK_S, begins_at=begins_at, ends_at=DAY_S)
        for service, begins_at in ((A, 0.0), (B, 1.0))
    )
    sparing = Traffic(either(AGENTS_SWAP_S), sessions=agents)
    eager = attrs.evolve(sparing, config=attrs.evolve(sparing.config, linger=False))
    done, done_eagerly = (
        simulate(traffic, machine=MACHINE).requests for traffic in (sparing, eager)
    )
    return done / done_eagerly


def rare_b() -> tuple[float, float]:
    """Return the longest wait for a service that is seldom asked for, and what was promised.

    The other one is never idle.  Promised are: the patience of who waits, the longest request
    that is in flight when it ends, and the swap.
    """
    config = either(RARE_SWAP_S)
    requests = [
        *(Request(at, A, BUSY_SERVICE_S) for at in _every(BUSY_EVERY_S)),
        *(Request(at, B, SERVICE_S) for at in _every(RARE_EVERY_S)),
    ]
    in_order = tuple(sorted(requests, key=lambda request: request.at))
    report = simulate(Traffic(config, in_order), machine=MACHINE)
    promised = patience_s(config.services[1].load_s) + BUSY_SERVICE_S + RARE_SWAP_S
    return report.wait_max_by_service_s[B], promised


def _every(seconds: float) -> list[float]:
    return [seconds * number for number in range(1, int(DAY_S / seconds))]
