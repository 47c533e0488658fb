"""Request traces: who asked for what, when, for how long; docs/reference/traces.md.

A trace knows neither memory nor load times: `draw_services` maps its services to a catalogue.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

import attrs

from .. import effects as fx
from .. import events as ev
from .. import journal
from .._errors import LocalError
from .._ids import DeviceId, ServiceId, TicketId
from ..config import CoreConfig, DeviceSpec, Placement, ServiceSpec

GPU = DeviceId("gpu0")
GB = 10**9
CONCURRENT_MAX = 4
UNKNOWN_SEED = 5
"""Service times that a trace does not know are drawn; every simulation draws the same ones."""
SERVICE_MU, SERVICE_SIGMA = 1.4, 0.8

CATALOGUE: tuple[tuple[str, float, float], ...] = (
    ("embed", 1.2, 6.0),
    ("rerank", 2.5, 8.0),
    ("whisper", 3.5, 6.0),
    ("tts", 2.0, 10.0),
    ("lcpp-3b", 3.0, 3.0),
    ("lcpp-8b", 6.5, 4.5),
    ("lcpp-14b", 10.5, 6.5),
    ("lcpp-24b", 15.5, 9.0),
    ("lcpp-32b", 20.5, 12.0),
    ("tabby-22b", 14.5, 14.0),
    ("tabby-32b", 19.0, 18.0),
    ("vllm-7b", 9.0, 55.0),
    ("vllm-14b", 15.0, 75.0),
    ("vllm-8b16", 20.0, 80.0),
    ("sdxl", 8.0, 15.0),
    ("flux", 13.5, 30.0),
    ("vlm-7b", 8.5, 12.0),
    ("coder-7b", 5.5, 4.0),
    ("ocr", 4.5, 12.0),
    ("music", 6.0, 20.0),
)
"""Servers of a workstation, with assumed sizes in GB and load times in seconds."""


class TraceError(LocalError):
    """A line that is no part of a trace."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@attrs.frozen
class Request:
    """One request of a trace."""

    at: float
    service: ServiceId
    service_s: float
    """How long it takes once it is admitted."""


@attrs.frozen
class Session:
    """A client that asks, waits for the answer, thinks about it, and asks again."""

    service: ServiceId
    service_s: float
    """How long each request takes once it is admitted."""
    think_s: float
    """From an answer to the next question."""
    begins_at: float
    ends_at: float
    """When it asks no more."""

    def next_request(self, at: float) -> Request | None:
        """Return what it asks at a point in time; None: it has ended."""
        return Request(at, self.service, self.service_s) if at < self.ends_at else None


@attrs.frozen
class Traffic:
    """What a simulation replays: a machine's services and the requests for them, in time order."""

    config: CoreConfig
    requests: tuple[Request, ...] = ()
    sessions: tuple[Session, ...] = ()
    """Clients whose requests come when their earlier ones are answered."""

    def on(self, capacity: int) -> "Traffic":
        """Return the same on GPUs of this capacity each; main memory stays as it is."""
        devices = tuple(
            attrs.evolve(device, capacity=capacity) if device.id != "ram" else device
            for device in self.config.devices
        )
        return attrs.evolve(self, config=attrs.evolve(self.config, devices=devices))


def read_trace(
    lines: Iterable[str], *, broken: list[TraceError] | None = None
) -> tuple[Request, ...]:
    r"""Read comma-separated lines below a header; `t_s` and `service` must be there.

    >>> read_trace(["t_s,service,dur_s\n", "0.5,chat,2\n"])
    (Request(at=0.5, service='chat', service_s=2.0),)

    Args:
        lines: of the file.
        broken: where broken lines are collected while reading goes on; None: it stops at the first.

    Raises:
        TraceError: a line is broken, and `broken` is None; the header is, always.
    """
    unknown = Random(UNKNOWN_SEED)
    columns: list[str] = []
    requests: list[Request] = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.rstrip("\r\n").split(",")]
        if not columns:
            if not {"t_s", "service"}.issubset(cells):
                raise TraceError(number, "the header must name t_s and service")
            columns = cells
            continue
        if cells == [""]:
            continue
        try:
            at, service, service_s = _request(columns, cells)
            if requests and at < requests[-1].at:
                raise ValueError(f"t_s runs backwards: {at:g} after {requests[-1].at:g}")
        except ValueError as error:
            problem = TraceError(number, str(error))
            if broken is None:
                raise problem from None
            broken.append(problem)
            continue
        service_s = service_s or unknown.lognormvariate(SERVICE_MU, SERVICE_SIGMA)
        requests.append(Request(at, service, service_s))
    if not columns:
        raise TraceError(1, "there is no header")
    return tuple(requests)


def _request(columns: Sequence[str], cells: Sequence[str]) -> tuple[float, ServiceId, float]:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells where the header has {len(columns)}")
    row = dict(zip(columns, cells, strict=True))
    at, service_s = _seconds(row["t_s"], "t_s"), _seconds(row.get("dur_s") or "0", "dur_s")
    if not row["service"]:
        raise ValueError("service is empty")
    return at, ServiceId(row["service"]), service_s


def _seconds(cell: str, name: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be seconds from 0 up, not {cell[:40]!r}")
    return value


def draw_services(requests: Iterable[Request], seed: int) -> tuple[ServiceSpec, ...]:
    """Give each service of a trace an entry of the catalogue, drawn by a seed, busiest first.

    Raises:
        LocalError: the trace has more services than the catalogue.
    """
    counts = Counter(request.service for request in requests)
    if len(counts) > len(CATALOGUE):
        raise LocalError(f"{len(counts)} services, and {len(CATALOGUE)} entries to draw from")
    drawn = Random(seed * 7919 + 13).sample(CATALOGUE, len(counts))
    busiest = sorted(counts, key=lambda service: (-counts[service], service))
    return tuple(
        ServiceSpec(
            service,
            (Placement.of([(GPU, round(size * GB))]),),
            load_s=load_s,
            concurrent_max=CONCURRENT_MAX,
        )
        for service, (_, size, load_s) in zip(busiest, drawn, strict=True)
    )


def drawn_traffic(requests: tuple[Request, ...], capacity: int, seed: int) -> Traffic:
    """Return a trace on one GPU of this capacity, with services drawn by a seed."""
    device = DeviceSpec(GPU, capacity, headroom=0)
    return Traffic(CoreConfig((device,), draw_services(requests, seed)), requests)


def journal_traffic(
    lines: Iterable[str], *, broken: list[journal.JournalError] | None = None
) -> Traffic:
    """Return what a journal saw: its services, and each request that was admitted and finished.

    A request that was never admitted counts as well, with a service time of nothing: it wanted a
    start, and may get one from another policy.

    Raises:
        JournalError: a line is broken, and `broken` is None, or there is no head.
    """
    arrived: dict[TicketId, tuple[float, ServiceId]] = {}
    admitted: dict[TicketId, float] = {}
    service_s: dict[TicketId, float] = {}
    config: CoreConfig | None = None
    services: dict[ServiceId, ServiceSpec] = {}
    devices: dict[DeviceId, DeviceSpec] = {}
    for step in journal.replay(lines, broken=broken):
        if config is not step.config:
            # Whoever was there at any time may be wanted; names for clients do not matter here.
            config = step.config
            services |= {one.id: attrs.evolve(one, aliases=()) for one in config.services}
            devices |= {one.id: one for one in config.devices}
        match step.event:
            case ev.RequestArrived():
                arrived[step.event.ticket] = step.now, step.event.service
            case ev.RequestFinished() if step.event.ticket in admitted:
                service_s[step.event.ticket] = step.now - admitted[step.event.ticket]
            case _:
                pass
        for effect in step.effects:
            if isinstance(effect, fx.Admit):
                admitted[effect.ticket] = step.now
    if config is None:
        raise journal.JournalError(1, "there is no event")
    return Traffic(
        attrs.evolve(config, devices=tuple(devices.values()), services=tuple(services.values())),
        tuple(
            Request(at, service, service_s.get(ticket, 0.0))
            for ticket, (at, service) in arrived.items()
        ),
    )
