"""The books of the core: all that it remembers, so that a snapshot is one value."""

from collections import OrderedDict

import attrs

from ._ids import DeviceId, RunId, ServiceId, TicketId
from ._learn import Learnt
from ._lifecycle import State
from ._memory import DeviceBook
from .config import Placement, ServiceSpec
from .events import Cause


@attrs.define
class Ticket:
    """One request, or one start by hand, that waits for its answer."""

    id: TicketId
    arrived_at: float
    deadline_at: float
    by_hand: bool


@attrs.define
class ServiceBook:
    """What the core knows of one service."""

    id: ServiceId
    since_at: float
    state: State = State.DOWN
    why: str = "not started yet"
    run: RunId | None = None
    placement: Placement | None = None
    """What it claims, in the states that hold memory, else None."""
    home: Placement | None = None
    """What the present run claims awake."""
    promised: Placement | None = None
    """Room that is promised to it beside its claim: in RESERVED and ROUSING, else None."""
    promised_order: int = 0
    """Who was promised room first launches first."""
    timer_at: float | None = None
    """The deadline of the present state; `_lifecycle` tells what it ends."""
    start_max_at: float = 0.0
    ready_at: float | None = None
    rested_at: float = 0.0
    """Since when it has served nobody: from its start, from ready, or from the last finish."""
    kept: bool = False
    """A load that was started by hand: it goes on even when nobody waits."""
    loads_alone: bool = True
    """No other load ran beside its own: how long it takes says something."""
    drains_for: ServiceId | None = None
    """Who shall have its room: should nobody need it any more, the drain is undone."""
    drains_to_sleep: bool = False
    """The drain ends in sleep, not in a stop."""
    leaves_for_good: bool = False
    """The drain ends in a restart or a shutdown: a start by hand does not undo it."""
    kills: int = 0
    """How often the present run was told to die, by force."""
    blame: Cause | None = None
    """Why we stop a run that failed us: it counts as a failure once it is gone."""
    failures: int = 0
    cause: Cause | None = None
    slept: bool = False
    """It said that it sleeps; its memory is awaited."""
    fails: bool = False
    """Its memory is awaited after a failure: then it backs off."""
    retries: bool = False
    """Its last start ran out of memory, and the next one is the second and last try."""
    seen: dict[DeviceId, int] = attrs.field(factory=dict)
    """What the present run was seen to hold at most."""
    served: bool = False
    """Whether the present run has finished a request: before that it may not have grown."""
    proved: dict[DeviceId, int] = attrs.field(factory=dict)
    """The same as `seen`, as it was when it was last measured after it had served.

    Before, it may have been seen in the middle of its load, and its end may come before the next
    measurement: such a figure teaches nothing.
    """
    lost: str | None = None
    retired: ServiceSpec | None = None
    """What it was, if it was left out of the configuration: it leaves, and is then forgotten."""
    outdated: bool = False
    """The present run is one of an earlier configuration: it teaches nothing about the next."""
    waiting: OrderedDict[TicketId, Ticket] = attrs.field(factory=OrderedDict)
    """In order of arrival.  To find the first of a plain `dict` takes the longer the more have
    left before it."""
    starts_waiting: int = 0
    """How many of them are starts by hand, which need no place."""
    in_flight: dict[TicketId, None] = attrs.field(factory=dict)
    """Admitted to the present run, and not finished.  A dict, because it keeps its order."""
    batch_max: TicketId = attrs.field(default=TicketId(0))
    """The last ticket of those that waited when the run became ready: they are served first."""
    patient_from: float = float("-inf")
    """A drain for it was in vain then, and its patience begins anew."""
    learnt: Learnt = attrs.field(factory=Learnt)

    @property
    def unused(self) -> bool:
        """Nobody uses it and nobody waits for it."""
        return not self.in_flight and not self.waiting

    @property
    def holds(self) -> Placement | None:
        """What it claims and what is promised to it, together."""
        if self.promised is None:
            return self.placement
        return self.promised if self.home is None else self.home

    @property
    def first_in_line(self) -> Ticket:
        """Return who has waited longest; somebody must wait."""
        return next(iter(self.waiting.values()))


@attrs.define
class Books:
    """Everything that the core remembers beside its configuration."""

    now: float
    services: dict[ServiceId, ServiceBook]
    tickets: dict[TicketId, ServiceId] = attrs.field(factory=dict)
    """Who waits or is in flight, and where."""
    deadlines: list[tuple[float, TicketId]] = attrs.field(factory=list)
    """A heap of the deadlines of waiting tickets; the first is always one that still waits."""
    ticket_max: TicketId = attrs.field(default=TicketId(0))
    run_max: RunId = attrs.field(default=RunId(0))
    promised_count: int = 0
    measured: dict[DeviceId, DeviceBook] = attrs.field(factory=dict)
    """The devices whose memory is known."""
    rent: float = 0.0
    """What a byte would have been charged from the beginning; see `Idle.rent`."""
    reconsider_at: float | None = None
    """When somebody who waits for room runs out of patience, or an idle run need not be spared."""
    closing_at: float | None = None
    """Set once a shutdown was asked for: when running requests are cut."""
