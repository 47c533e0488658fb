"""What the World knows by itself: which runs physically live, who waits, and what was asked."""

from collections.abc import Iterable

import attrs

from .._ids import DeviceId, RunId, ServiceId, TicketId
from .._leavers import LINGER_GAPS
from .._lifecycle import State
from .._memory import VERIFY_S
from ..config import CoreConfig, Placement, ServiceSpec, patience_s
from ._memory import Memory, Taken, average
from ._runs import Client as Client
from ._runs import Run as Run
from ._runs import Sleep as Sleep
from ._runs import Stage as Stage


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
    gaps: dict[ServiceId, list[float]] = attrs.field(factory=dict)
    """How long a service took to be wanted again, each time."""
    lost: dict[ServiceId, None] = attrs.field(factory=dict)
    states: dict[ServiceId, State] = attrs.field(factory=dict)
    """What the core told last."""
    removed: dict[ServiceId, None] = attrs.field(factory=dict)
    """Who is out of the configuration, and not gone yet."""
    closing: bool = False
    memory: Memory = attrs.field(init=False)
    specs: dict[ServiceId, ServiceSpec] = attrs.field(init=False)
    """Of all that were ever configured, as they were last."""

    def __attrs_post_init__(self) -> None:
        self.specs = {spec.id: spec for spec in self.config.services}
        self.memory = Memory(self.config)

    def replace(self, config: CoreConfig) -> None:
        """Go by another configuration; who is left out is `removed` until it is forgotten."""
        ids = [spec.id for spec in config.services]
        before = [*(spec.id for spec in self.config.services), *self.removed]
        self.removed = dict.fromkeys(one for one in before if one not in ids)
        self.specs |= {spec.id: spec for spec in config.services}
        self.memory.replace(config, self.now)
        self.config = config

    def forget_gone(self) -> None:
        """Forget who is out of the configuration and gone."""
        for service in list(self.removed):
            if self.states.get(service, State.DOWN) in (State.DOWN, State.BACKOFF, State.FAILED):
                del self.removed[service]
                for known in (self.lost, self.states, self.patient_from, self.rested):
                    known.pop(service, None)
                self.gaps.pop(service, None)
                self.memory.forget_runs(service)

    def is_there(self, service: ServiceId) -> bool:
        """Tell whether the core still knows a service."""
        return service in self.removed or any(one.id == service for one in self.config.services)

    def is_adoptable(self, run: Run) -> bool:
        """Tell whether a run is one of the present configuration, on devices that there are."""
        devices = [device.id for device in self.config.devices]
        return (
            not run.outdated
            and all(device in devices for device in run.placement.devices)
            and (not run.asleep or self.specs[run.service].residue(run.placement) is not None)
        )

    def waiting(self, service: ServiceId | None = None) -> list[Client]:
        return [
            client
            for client in self.clients.values()
            if client.stage is Stage.WAITING and service in (None, client.service)
        ]

    def last_waiting(self, service: ServiceId) -> TicketId:
        return max((client.ticket for client in self.waiting(service)), default=TicketId(0))

    def models(self, service: ServiceId) -> list[ServiceId]:
        """Return the models inside a service."""
        models = (spec.id for spec in self.specs.values() if spec.host == service)
        return [model for model in models if self.is_there(model)]

    def loaded(self, run: Run) -> list[Run]:
        """Return the models that a run holds, loads or unloads."""
        return [one for one in self.current.values() if one.host == run.id]

    def host_of(self, run: Run) -> Run | None:
        """Return the run inside which a model is loaded."""
        return None if run.host is None else self.runs[run.host]

    def wanted_by(self, service: ServiceId) -> list[Client]:
        """Return who waits for a service or for a model inside it, in order of arrival."""
        wanted = (service, *self.models(service))
        return [client for client in self.waiting() if client.service in wanted]

    def in_flight(self, run: Run) -> bool:
        """Tell whether a run serves anybody, by a model of it or without."""
        return any(one.in_flight for one in (run, *self.loaded(run)))

    def unused(self, run: Run) -> bool:
        """Nobody uses or wants it or a model inside it, and none is being loaded or unloaded."""
        models = self.loaded(run)
        steady = all(one.ready and one.stop_at is None and not one.draining for one in models)
        return steady and not self.in_flight(run) and not self.wanted_by(run.service)

    def seeker(self, service: ServiceId) -> ServiceId | None:
        """Return who must get room for those who wait for a service: it, or first its host.

        None: it has a run that does not sleep, or its host is coming or leaving.
        """
        spec = self.specs[service]
        host = None if spec.host is None else self.current.get(spec.host)
        if spec.host is not None and host is None:
            return spec.host
        run = self.current.get(service)
        if run is not None and not run.asleep:
            return None
        if not (host is None or host.serving):
            return None
        return service

    def placements(self, service: ServiceId) -> tuple[Placement, ...]:
        """Return where a service may be placed now; of a model, its host must run.

        With what it is expected to take there.
        """
        spec = self.specs[service]
        if spec.host is not None:
            place = self.current[spec.host].placement
            return spec.placements_in(self.specs[spec.host], place)
        return tuple(self.memory.expected(service, one) for one in spec.placements)

    def ways(self, service: ServiceId) -> list[list[Placement]]:
        """Return all that a service could claim, of a model together with what its host would."""
        spec = self.specs[service]
        if spec.host is None:
            return [[placement] for placement in self.placements(service)]
        host = self.specs[spec.host]
        return [
            [place, inside]
            for place in host.placements
            for inside in spec.placements_in(host, place)
        ]

    def hopeless(self, service: ServiceId) -> bool:
        """Tell whether a service fits nowhere, even if it were alone."""
        empty = self.usable()
        return all(min(less(empty, way).values(), default=0) < 0 for way in self.ways(service))

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
                run.residue if run.id in sleeping and run.residue is not None else self.stays(run)
                for run in self.current.values()
                if run.id not in leaving
            ),
        )
        staying = [
            self._taken(run)
            for run in self.current.values()
            if not self.promised(run) and run.id not in (*leaving, *sleeping)
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
        return run.placement.less(self.memory.holds(self._taken(run)))

    def taken(self) -> list[Taken]:
        return [self._taken(run) for run in self.current.values()]

    def _taken(self, run: Run) -> Taken:
        claims = tuple(one.claims for one in (run, *self.loaded(run)))
        return Taken(run.id, run.claims, run.ready, run.host, claims)

    def is_shared(self, service: ServiceId) -> bool:
        """Tell whether its memory is measured together with that of others."""
        return self.specs[service].host is not None or bool(self.models(service))

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

    def promised(self, run: Run) -> bool:
        """Tell whether others may be promised its bytes: a model leaves with its host."""
        host = self.host_of(run)
        if host is not None and (host.stop_at is not None or host.draining):
            return host.promised
        return run.promised

    def stays(self, run: Run) -> Placement:
        """Return those of the bytes of a run that may not be promised to others."""
        if not self.promised(run):
            return run.claims
        sleeps = run.stop_at is None and (run.sleep is Sleep.FALLING or run.drains_to_sleep)
        return (run.residue if sleeps else None) or Placement()

    def movable(self, run: Run) -> bool:
        """Tell whether anything but what it serves may keep this run."""
        host = self.host_of(run)
        return (
            run.stop_at is None
            and not run.draining
            and run.sleep is not Sleep.FALLING
            and not self.specs[run.service].pinned
            and run.service not in self.lost
            and (host is None or host.serving)
        )

    def evictable(self, run: Run) -> bool:
        """Tell whether the core may stop this run to make room."""
        return (
            self.movable(run)
            and not ((run.starting or run.waking) and run.kept)
            and self.unused(run)
            and all(map(self.evictable, self.loaded(run)))
        )

    def drainable(self, run: Run) -> bool:
        """Tell whether a run must leave for one whose patience is over, though it is wanted.

        It serves, and served its batch, or those who want it cannot have it wake.
        """
        waiting = self.waiting(run.service)
        may_leave = run.awake and (not waiting or waiting[0].ticket > run.batch_max)
        return (
            self.movable(run)
            and (may_leave or (run.asleep and run.service not in self.reserved))
            and all(map(self.drainable, self.loaded(run)))
            and not any(model in self.reserved for model in self.models(run.service))
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
        gap_max = max(self.gaps.get(run.service, ()), default=0.0)
        return (
            self.evictable(run)
            and self.now >= run.rested_at + LINGER_GAPS * gap_max
            and all(map(self.surely_evictable, self.loaded(run)))
        )

    def mean_gap_s(self, service: ServiceId) -> float | None:
        """Return what the core should have learnt of how soon a service is wanted again."""
        return average(self.gaps.get(service, ()))

    def seekers(self) -> list[ServiceId]:
        """Return who waits for room and was promised none, in order of arrival."""
        seekers = dict.fromkeys(self.seeker(client.service) for client in self.waiting())
        return [
            service
            for service in seekers
            if service is not None
            and service not in self.reserved
            and (service in self.current or service not in self.lost)
        ]

    def patient_until(self, service: ServiceId) -> float:
        """Return when those who wait for a service need not let others pass any more."""
        arrived_at = self.wanted_by(service)[0].arrived_at
        patient_from = max(arrived_at, self.patient_from.get(service, arrived_at))
        load_s = self.memory.load_s(service, self.specs[service].load_s)
        return patient_from + patience_s(load_s)

    def first_impatient(self) -> ServiceId | None:
        """Return who is first in line for room of those whose patience is over.

        Who can never have room is passed over; not if it is a model, which may keep its host.
        """
        for service in self.seekers():
            hopeless = not self.fits_some_day(service, most=True)
            if self.specs[service].host is None and hopeless:
                continue
            if self.now >= self.patient_until(service):
                return service
        return None

    def fits_some_day(self, service: ServiceId, *, most: bool) -> bool:
        """Tell whether there would be room for a service if all left that ever may.

        Args:
            service: which.
            most: suppose that as little as possible is in the way.
        """
        stay = [
            run
            for run in self.current.values()
            if run.service != service
            and (
                run.service == self.specs[service].host
                or any(
                    self.specs[one.service].pinned or one.service in self.lost
                    for one in (run, *self.loaded(run))
                )
            )
        ]
        room = less(self.usable(), (run.claims for run in stay))
        for device, lack in self.memory.lacks(self.taken(), [], most=most).items():
            room[device] -= lack
        return any(fits(placement, room) for placement in self.placements(service))

    def feasible(self, service: ServiceId) -> bool:
        """Tell whether there surely is room for a service, once all that may leave has left."""
        runs = [run for run in self.current.values() if run.service != service]
        idle = [run for run in runs if self.surely_evictable(run)]
        if self.first_impatient() == service:
            idle = [
                run
                for run in runs
                if (self.evictable(run) or self.drainable(run))
                and run.service != self.specs[service].host
            ]
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


def less(room: dict[DeviceId, int], placements: Iterable[Placement]) -> dict[DeviceId, int]:
    """Return the room that is left when all these placements are taken."""
    left = dict(room)
    for placement in placements:
        for device, amount in placement.amounts:
            left[device] = left.get(device, 0) - amount
    return left


def fits(placement: Placement, room: dict[DeviceId, int]) -> bool:
    return all(amount <= room.get(device, 0) for device, amount in placement.amounts)
