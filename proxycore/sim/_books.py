"""What the World knows by itself: which runs physically live, who waits, and what was asked."""

import enum
from collections.abc import Iterable

import attrs

from .._ids import DeviceId, RunId, ServiceId, TicketId
from .._memory import VERIFY_S
from .._settle import LINGER_GAPS
from .._verbs import OVERDUE_KILLS
from ..config import CoreConfig, Placement, ServiceSpec, patience_s
from ._memory import Memory, Taken


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
    lives: bool = True
    uses: dict[DeviceId, int] = attrs.field(factory=dict)
    """What it physically uses now."""
    seen: dict[DeviceId, int] = attrs.field(factory=dict)
    """What the core was told at most that it uses."""
    served: bool = False
    """It has finished a request."""
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
    def stays(self) -> Placement:
        """Of its bytes those that may not be promised to others.

        All, unless it drains, falls asleep, or was told to go and is not overdue.
        """
        if not self.promised:
            return self.claims
        sleeps = self.stop_at is None and (self.sleep is Sleep.FALLING or self.drains_to_sleep)
        return (self.residue if sleeps else None) or Placement()

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


@attrs.define
class Books:
    """All that the World remembers.  Dicts stand for sets, because they keep their order."""

    config: CoreConfig
    now: float
    runs: dict[RunId, Run] = attrs.field(factory=dict)
    """All that this core ever started or found."""
    current: dict[ServiceId, Run] = attrs.field(factory=dict)
    """The run of each service, until its end was told."""
    last_failed: dict[ServiceId, bool] = attrs.field(factory=dict)
    """Whether the last run that ended did so by a fault of its own."""
    clients: dict[TicketId, Client] = attrs.field(factory=dict)
    """Whoever is not over, in order of arrival."""
    reserved: dict[ServiceId, tuple[Placement, ...]] = attrs.field(factory=dict)
    """Who was promised room, in that order, and which placements it may have been promised."""
    patient_from: dict[ServiceId, float] = attrs.field(factory=dict)
    """Since when a service is patient again, after a drain for it was in vain."""
    rested: dict[ServiceId, float] = attrs.field(factory=dict)
    """When a service last went idle, if nobody has come since."""
    gap_max: dict[ServiceId, float] = attrs.field(factory=dict)
    """The longest that a service ever took to be wanted again."""
    lost: dict[ServiceId, None] = attrs.field(factory=dict)
    closing: bool = False
    memory: Memory = attrs.field(init=False)
    specs: dict[ServiceId, ServiceSpec] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.specs = {spec.id: spec for spec in self.config.services}
        self.memory = Memory(self.config)

    def waiting(self, service: ServiceId | None = None) -> list[Client]:
        return [
            client
            for client in self.clients.values()
            if client.stage is Stage.WAITING and service in (None, client.service)
        ]

    def last_waiting(self, service: ServiceId) -> TicketId:
        return max((client.ticket for client in self.waiting(service)), default=TicketId(0))

    def unused(self, run: Run) -> bool:
        return not run.in_flight and not self.waiting(run.service)

    def usable(self) -> dict[DeviceId, int]:
        return {device.id: device.capacity - device.headroom for device in self.config.devices}

    def free(self) -> dict[DeviceId, int]:
        """Return what physically is free now, less the headroom."""
        return less(self.usable(), (run.may_use for run in self.runs.values() if run.lives))

    def promisable(
        self, *, most: bool, without: Iterable[Run] = (), asleep: Iterable[Run] = ()
    ) -> dict[DeviceId, int]:
        """Return what is free or leaving, not promised, if the runs in `without` left as well.

        Those in `asleep` would only sleep.

        Which of its alternatives a service was promised is not always known from outside: `most`
        says whether to suppose that these are small ones.
        """
        leaving = [run.id for run in without]
        sleeping = [run.id for run in asleep]
        room = less(
            self.usable(),
            (
                run.residue if run.id in sleeping and run.residue is not None else run.stays
                for run in self.current.values()
                if run.id not in leaving
            ),
        )
        staying = [
            _taken(run)
            for run in self.current.values()
            if not run.promised and run.id not in (*leaving, *sleeping)
        ]
        for device, lack in self.memory.lacks(self.taken(), staying, most=most).items():
            room[device] -= lack
        for placements in self.promises().values():
            for device in room:
                amounts = [dict(placement.amounts).get(device, 0) for placement in placements]
                room[device] -= min(amounts) if most else max(amounts)
        return room

    def promises(self) -> dict[ServiceId, tuple[Placement, ...]]:
        """Return who was promised room, in that order, and what that may be."""
        return {
            service: (self.needs(run),)
            if (run := self.current.get(service)) is not None and run.asleep
            else placements
            for service, placements in self.reserved.items()
        }

    def needs(self, run: Run) -> Placement:
        """Return what a run that sleeps lacks to wake where it is, by all that was told."""
        return run.placement.less(self.memory.holds(_taken(run)))

    def taken(self) -> list[Taken]:
        return [_taken(run) for run in self.current.values()]

    def placements(self, service: ServiceId) -> tuple[Placement, ...]:
        """Return where a service may live, with what it is expected to take."""
        declared = self.specs[service].placements
        return tuple(self.memory.expected(service, placement) for placement in declared)

    def declared(self, run: Run) -> Placement | None:
        """Return what the configuration says of the place where a run is; None: nothing."""
        declared = self.specs[run.service].placements
        same = [one for one in declared if one.devices == run.placement.devices]
        return next(iter([*same, *(one for one in declared if not one.amounts)]), None)

    def verifying(self, service: ServiceId | None = None) -> bool:
        """Tell whether the memory of a run that is gone may still be awaited."""
        return any(
            run.gone_at is not None
            and self.now < run.gone_at + VERIFY_S
            and service in (None, run.service)
            for run in self.runs.values()
        )

    def evictable(self, run: Run) -> bool:
        """Tell whether the core may let this run leave to make room."""
        return (
            run.stop_at is None
            and not run.draining
            and run.sleep is not Sleep.FALLING
            and not ((run.starting or run.waking) and run.kept)
            and self.unused(run)
            and not self.specs[run.service].pinned
            and run.service not in self.lost
        )

    def drainable(self, run: Run) -> bool:
        """Tell whether a run must leave for one whose patience is over, though it is wanted.

        It serves, and served its batch, or those who want it cannot have it wake.
        """
        waiting = self.waiting(run.service)
        may_leave = run.awake and (not waiting or waiting[0].ticket > run.batch_max)
        return (
            (may_leave or (run.asleep and run.service not in self.reserved))
            and run.stop_at is None
            and not run.draining
            and not self.specs[run.service].pinned
            and run.service not in self.lost
        )

    def idle_until(self, run: Run) -> float | None:
        """Return when a run shall leave because nobody uses it; None: it shall not."""
        spec = self.specs[run.service]
        rests = (run.awake or run.asleep) and run.stop_at is None
        rests &= not run.draining and not spec.pinned
        if not rests or spec.idle_s is None or not self.unused(run):
            return None
        return run.rested_at + spec.idle_s

    def surely_evictable(self, run: Run) -> bool:
        """Tell whether it may be stopped even for one who can wait: it is not soon back."""
        gap_max = self.gap_max.get(run.service, 0.0)
        return self.evictable(run) and self.now >= run.rested_at + LINGER_GAPS * gap_max

    def patient_until(self, service: ServiceId) -> float:
        """Return when those who wait for a service need not let others pass any more."""
        arrived_at = self.waiting(service)[0].arrived_at
        patient_from = max(arrived_at, self.patient_from.get(service, arrived_at))
        load_s = self.memory.load_s(service, self.specs[service].load_s)
        return patient_from + patience_s(load_s)

    def first_impatient(self) -> ServiceId | None:
        """Return who is first in line for room of those whose patience is over."""
        for client in self.waiting():
            service = client.service
            run = self.current.get(service)
            down = run is None and service not in self.lost
            waits_for_room = down or (run is not None and run.asleep)
            if waits_for_room and self.now >= self.patient_until(service):
                return service
        return None

    def feasible(self, service: ServiceId) -> bool:
        """Tell whether there surely is room for a service, once all that may leave has left."""
        runs = [run for run in self.current.values() if run.service != service]
        idle = [run for run in runs if self.surely_evictable(run)]
        if self.first_impatient() == service:
            idle = [run for run in runs if self.evictable(run) or self.drainable(run)]
        room = self.promisable(most=False, without=idle)
        own = self.current.get(service)
        if own is not None and fits(self.needs(own), room):
            return True
        if own is not None:
            if service in self.lost:
                return False
            # Where there is no room to wake it, there may be some to start it elsewhere.
            room = self.promisable(most=False, without=[*idle, own])
        return any(fits(placement, room) for placement in self.placements(service))


def _taken(run: Run) -> Taken:
    return Taken(run.id, run.claims, run.ready)


def less(room: dict[DeviceId, int], placements: Iterable[Placement]) -> dict[DeviceId, int]:
    """Return the room that is left when all these placements are taken."""
    left = dict(room)
    for placement in placements:
        for device, amount in placement.amounts:
            left[device] -= amount
    return left


def fits(placement: Placement, room: dict[DeviceId, int]) -> bool:
    return all(amount <= room[device] for device, amount in placement.amounts)
