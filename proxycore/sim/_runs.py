"""The clients and the runs of the World, as each is known outside the core."""

import enum

import attrs

from .._claims import OVERDUE_KILLS
from .._ids import DeviceId, RunId, ServiceId, TicketId
from ..config import Placement


class Stage(enum.Enum):
    """Where a client is."""

    WAITING = "waiting"
    SERVED = "served"
    BROKEN = "broken"
    """Its run is gone; it has not said that it noticed."""
    OVER = "over"


@attrs.define
class Client:
    """Somebody with a ticket."""

    ticket: TicketId
    service: ServiceId
    arrived_at: float
    deadline_at: float
    by_hand: bool
    stage: Stage = Stage.WAITING
    run: RunId | None = None


class Sleep(enum.Enum):
    """Whether a run sleeps, as far as the core was told."""

    AWAKE = "awake"
    FALLING = "falling"
    """It was told to sleep."""
    ASLEEP = "asleep"
    """It said that it sleeps, and the core has given its claim back."""
    WAKING = "waking"
    """It was told to wake."""


@attrs.define
class Run:
    """One process of the machine.  It uses its memory from `StartRun` until it no longer lives.

    Asleep it uses a residue of that, from when it fell asleep until it is told to wake.
    """

    service: ServiceId
    id: RunId
    placement: Placement
    start_until: float
    """When its start may be given up; moved by signs of life, never past `start_max_at`."""
    start_max_at: float
    rested_at: float
    """Since when it serves nobody, if it serves nobody."""
    kept: bool
    """Started by hand: it may not be taken for room before it is ready."""
    started_at: float = 0.0
    loads_alone: bool = True
    """No other has loaded beside it: loads share a disk, and one that was slowed teaches less."""
    host: RunId | None = None
    """Of a model: the run inside which it is loaded."""
    lives: bool = True
    uses: dict[DeviceId, int] = attrs.field(factory=dict)
    """What it physically uses now."""
    seen: dict[DeviceId, int] = attrs.field(factory=dict)
    """What the core was told at most that it uses."""
    served: bool = False
    """It has finished a request."""
    proved: dict[DeviceId, int] = attrs.field(factory=dict)
    """What the core was told at most that it uses, by the last that it was told since then."""
    gone_at: float | None = None
    """When its end was told."""
    hangs: bool = False
    """It will never be ready by itself."""
    ready: bool = False
    """The core was told so, in time."""
    sleep: Sleep = Sleep.AWAKE
    residue: Placement | None = None
    """What it uses asleep; None: it cannot sleep."""
    dozes: bool = False
    """It fell asleep, whether the core knows or not."""
    slept_at: float | None = None
    """When the core was told so."""
    sleep_until: float = 0.0
    """When a core may lose its patience with it falling asleep."""
    sleeps_by_hand: bool = False
    """Somebody asked for that, and it is still awake."""
    drains_to_sleep: bool = False
    """It will sleep, and not stop, when it has served."""
    stuck: bool = False
    asked: bool = False
    """It heard a stop or a kill that it will obey, some time."""
    stop_at: float | None = None
    """When the core first told it to stop."""
    grace_s: float = 0.0
    """What it was given then."""
    outdated: bool = False
    """Its service is started in another way now, or is not configured any more."""
    kills: int = 0
    blamed: bool = False
    """It was stopped for being stuck or slow, which counts as its failure."""
    told_gone: bool = False
    cut_at: float | None = None
    """It drains, by hand: from then on its requests may be cut."""
    leaves_for_good: bool = False
    drains_for: ServiceId | None = None
    """It drains to give its room to this one."""
    drain_until: float = 0.0
    batch_max: TicketId = attrs.field(default=TicketId(0))
    """The last ticket that waited when it became ready."""
    in_flight: dict[TicketId, None] = attrs.field(factory=dict)

    @property
    def starting(self) -> bool:
        return not self.ready and self.stop_at is None and not self.told_gone

    @property
    def waking(self) -> bool:
        return self.sleep is Sleep.WAKING and self.stop_at is None and not self.told_gone

    @property
    def awake(self) -> bool:
        """It answers requests, if it is not leaving."""
        return self.ready and self.sleep is Sleep.AWAKE

    @property
    def asleep(self) -> bool:
        return self.sleep is Sleep.ASLEEP and self.stop_at is None

    @property
    def falls_asleep(self) -> bool:
        return self.sleep is Sleep.FALLING and self.stop_at is None

    @property
    def may_use(self) -> Placement:
        """What it may physically use while it lives."""
        return self.residue if self.dozes and self.residue is not None else self.placement

    @property
    def claims(self) -> Placement:
        """What it must be counted with, by what the core was told."""
        asleep = self.sleep is Sleep.ASLEEP and self.residue is not None
        return self.residue if asleep and self.residue is not None else self.placement

    @property
    def promised(self) -> bool:
        """Bytes of it may be promised to others: it drains, falls asleep, or was told to go.

        Not if it is overdue.
        """
        if self.stop_at is None:
            return self.draining or self.sleep is Sleep.FALLING
        return self.kills < OVERDUE_KILLS

    @property
    def leaves(self) -> bool:
        """Some of its bytes are about to be free."""
        return self.stop_at is not None or self.promised

    @property
    def draining(self) -> bool:
        """It gets no new requests."""
        by_hand = self.sleeps_by_hand and self.awake
        return self.cut_at is not None or self.drains_for is not None or by_hand

    @property
    def serving(self) -> bool:
        """It answers, and does not leave."""
        return self.awake and self.stop_at is None and not self.draining
