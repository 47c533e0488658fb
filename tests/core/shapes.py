"""Small configurations and short names for tests of the core."""

from proxycore import (
    RAM,
    Core,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Placement,
    RequestArrived,
    RunGone,
    RunReady,
    ServiceId,
    ServiceSpec,
    TicketId,
)
from proxycore.events import Cause

GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
CODER, CHAT, EMBED = ServiceId("coder"), ServiceId("chat"), ServiceId("embed")
T0 = 1234.5
"""The origin of time means nothing, so it is odd."""
EXIT = Cause("exit", "exit code 0")


def on(**amounts: int) -> Placement:
    """Return a placement: `on(gpu0=16, ram=2)`."""
    return Placement.of((DeviceId(device), amount) for device, amount in amounts.items())


def machine(*services: ServiceSpec) -> CoreConfig:
    """Return a machine of one GPU with room for 23, another for 8, and 32 of main memory."""
    devices = (
        DeviceSpec(GPU0, 24, headroom=1),
        DeviceSpec(GPU1, 8, headroom=0),
        DeviceSpec(RAM, 32, headroom=0),
    )
    return CoreConfig(devices, services)


def small(service: ServiceId = CHAT) -> ServiceSpec:
    return ServiceSpec(service, (on(gpu0=14),), idle_s=300.0)


def big(service: ServiceId = CODER) -> ServiceSpec:
    return ServiceSpec(service, (on(gpu0=16),), idle_s=300.0)


def arrived(
    ticket: int, service: ServiceId, at: float = T0, wait_s: float = 600.0
) -> RequestArrived:
    return RequestArrived(TicketId(ticket), service, deadline_at=at + wait_s)


def serving(*services: ServiceSpec, serves: ServiceId = CODER) -> Core:
    """Return a core whose first run, of `serves`, has ticket 1 in flight at T0."""
    core = Core(machine(*services), now=T0)
    core.handle(arrived(1, serves), T0)
    core.handle(RunReady(serves, core.books.run_max), T0)
    return core


def gone(core: Core, service: ServiceId) -> RunGone:
    run = core.view().service(service).run
    assert run is not None
    return RunGone(service, run, EXIT)
