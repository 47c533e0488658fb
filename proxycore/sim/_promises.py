"""The promises of the core as assertions on what the World knows, each with a message in words.

The numbers are those of docs/architecture.md.  A check is sound: where the World cannot know (which
of its placements a service was promised), it supposes what favours the core.
"""

from typing import assert_never

from .. import effects as fx
from .. import events as ev
from .._ids import RAM, DeviceId, RunId, ServiceId, TicketId
from .._lifecycle import State
from .._memory import LOW_S
from .._verbs import SLEEP_S
from ..config import Placement, Unit
from ..view import CoreView
from ._books import Books, Run, Sleep, fits, less
from ._tickets import Broken as Broken
from ._tickets import Tickets, broken


class Inspector(Tickets):
    """Enters effects into the World's books, one by one, and objects to those that may not be."""

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self._victims: dict[RunId, fx.Valued] = {}
        self._beneficiaries: dict[RunId, ServiceId] = {}
        self._placements: dict[ServiceId, tuple[Placement, ...]] = {}

    def enter(self, event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        """Check the answer to an event and do what it asks for.

        Raises:
            Broken: a promise.
        """
        self._victims.clear()
        self._beneficiaries.clear()
        self._placements.clear()
        for effect in effects:
            match effect:
                case fx.StartRun():
                    self._start(effect)
                case fx.StopRun():
                    self._stop(effect, event)
                case fx.KillRun():
                    self._kill(effect)
                case fx.SleepRun():
                    self._sleep(effect, event)
                case fx.WakeRun():
                    self._wake(effect)
                case fx.Admit() | fx.Started():
                    self._admit(effect)
                case fx.Refuse():
                    self._refuse(effect, event)
                case fx.Explained():
                    self._explained(effect)
                case fx.Changed():
                    self._changed(effect)
                case fx.Waiting():
                    if effect.want is not None:
                        self._wanted(effect.service, effect.want)
                case fx.MeasureMemory():
                    pass
                case _:
                    assert_never(effect)
        for run, valued in self._victims.items():
            broken(15, f"run {run} of {valued.service} should make room, yet does not leave")
        self.books.forget_gone()

    # Runs

    def _start(self, effect: fx.StartRun) -> None:
        books = self.books
        for run in books.runs.values():
            if run.service == effect.service and run.lives:
                broken(2, f"{effect.service}: run {effect.run} starts while run {run.id} lives")
        if effect.run <= max(books.runs, default=0):
            broken(2, f"{effect.service}: the run number {effect.run} is not a new one")
        free = books.free()
        for device, amount in effect.placement.amounts:
            if amount > free[device]:
                over = amount - free[device]
                broken(1, f"run {effect.run} of {effect.service} overfills {device} by {over}")
        lacks = books.memory.lacks(books.taken(), books.taken(), most=False)
        for device, lack in lacks.items():
            if 0 < effect.placement.on(device) > free[device] - lack:
                broken(1, f"run {effect.run} of {effect.service} needs more than is measured free")
        spec = books.specs[effect.service]
        self._check_host(effect)
        if effect.placement not in books.placements(effect.service):
            broken(1, f"run {effect.run} of {effect.service} claims what no placement says")
        self._check_promised(effect.service, effect.placement, free)
        books.reserved.pop(effect.service, None)
        loading = [run for run in books.current.values() if run.starting]
        for run in loading:
            run.loads_alone = False
        books.runs[effect.run] = books.current[effect.service] = Run(
            effect.service,
            effect.run,
            effect.placement,
            start_until=books.now + min(spec.start_s, spec.start_max_s),
            start_max_at=books.now + spec.start_max_s,
            rested_at=books.now,
            started_at=books.now,
            loads_alone=not loading,
            kept=any(client.by_hand for client in books.wanted_by(effect.service)),
            residue=books.memory.residue(spec, effect.placement),
            host=effect.host,
            lives=effect.host is None or books.runs[effect.host].lives,
        )

    def _check_host(self, effect: fx.StartRun) -> None:
        """Object to a model that is loaded anywhere but in a run of its host that serves."""
        host = self.books.specs[effect.service].host
        run = None if host is None else self.books.current.get(host)
        if effect.host != (None if run is None else run.id):
            broken(16, f"run {effect.run} of {effect.service} is told to live in {effect.host}")
        if host is not None and (run is None or not run.serving):
            broken(16, f"{effect.service} is loaded though {host} is not ready for it")

    def _check_promised(self, who: ServiceId, taken: Placement, free: dict[DeviceId, int]) -> None:
        """Object to one who takes bytes which somebody promised earlier still lacks."""
        left = less(free, [taken])
        for service, placements in self.books.promises().items():
            if service == who:
                return
            if all(
                any(
                    device in taken.devices and amount > left[device]
                    for device, amount in placement.amounts
                )
                for placement in placements
            ):
                broken(5, f"{who} takes room that was promised to {service} before")

    def _check_first(self, who: ServiceId, placements: tuple[Placement, ...]) -> None:
        """Object to a promise of what the first in line will need, when his patience is over."""
        books = self.books
        first = books.first_impatient()
        if first in (None, who) or books.verifying():
            return
        if not books.fits_some_day(first, most=False):
            return
        run, room = books.current.get(first), books.promisable(most=True)
        needs = books.placements(first) if run is None else (books.needs(run),)
        if not any(fits(one, less(room, [need])) for one in placements for need in needs):
            broken(5, f"{who} is promised room that {first} will need, who is before it")

    def _sleep(self, effect: fx.SleepRun, event: ev.Event) -> None:
        books = self.books
        run = self._known(effect)
        spec = books.specs[run.service]
        if not run.awake or run.stop_at is not None or run.residue is None:
            broken(6, f"run {run.id} of {run.service} shall sleep, yet is not awake, or cannot")
        if run.in_flight:
            broken(6, f"run {run.id} of {run.service} shall sleep while it serves")
        valued = self._victims.pop(run.id, None)
        for_room = valued is not None and valued.sleeps
        drained = run.draining and run.drains_to_sleep
        if not for_room and not drained and not run.sleeps_by_hand:
            self._check_idle(run, event)
        if spec.pinned and not run.sleeps_by_hand:
            broken(15, f"run {run.id} of {run.service} is pinned, yet shall sleep")
        books.memory.count_anew(run.claims)
        run.sleep, run.sleep_until = Sleep.FALLING, books.now + SLEEP_S
        run.sleeps_by_hand = run.drains_to_sleep = False
        run.drains_for, run.slept_at, run.batch_max = None, None, TicketId(0)

    def _wake(self, effect: fx.WakeRun) -> None:
        books = self.books
        run = self._known(effect)
        if not run.asleep:
            broken(4, f"run {run.id} of {run.service} shall wake, yet is not asleep")
        free = books.free()
        for device, amount in run.placement.less(run.may_use).amounts:
            if amount > free[device]:
                broken(1, f"run {run.id} of {run.service} wakes, and overfills {device}")
        needs = books.needs(run)
        for device, lack in books.memory.lacks(books.taken(), books.taken(), most=False).items():
            if 0 < needs.on(device) > free[device] - lack:
                broken(1, f"run {run.id} of {run.service} needs more than is measured free")
        self._check_promised(run.service, needs, free)
        books.reserved.pop(run.service, None)
        spec = books.specs[run.service]
        run.sleep, run.dozes, run.hangs = Sleep.WAKING, False, False
        run.start_until = books.now + min(spec.start_s, spec.start_max_s)
        run.start_max_at = books.now + spec.start_max_s
        run.kept = any(client.by_hand for client in books.waiting(run.service))

    def _stop(self, effect: fx.StopRun, event: ev.Event) -> None:
        books = self.books
        run = self._known(effect)
        slow = (run.starting or run.waking) and books.now >= run.start_until
        slow |= run.falls_asleep and books.now >= run.sleep_until
        valued = self._victims.pop(run.id, None)
        for_room = valued is not None and not valued.sleeps
        stuck = run.stuck or any(map(self._is_overdue, books.loaded(run)))
        host = books.host_of(run)
        if host is not None and host.stop_at is not None:
            broken(16, f"{run.service} is to be unloaded, though its host ends")
        if books.in_flight(run):
            cut = run.cut_at is not None and books.now >= run.cut_at
            cuts = books.specs[run.service].drain_cuts and run.drains_for is not None
            cut |= cuts and books.now >= run.drain_until
            if not cut and not stuck:
                broken(6, f"run {run.id} of {run.service} is stopped while it serves")
        elif run.draining and run.drains_to_sleep and run.cut_at is None and not stuck:
            broken(6, f"run {run.id} of {run.service} shall stop, though it drained to sleep")
        elif not run.draining and not stuck and not slow and not for_room:
            self._check_unasked(run, event)
        books.memory.count_anew(run.claims)
        run.blamed |= stuck or slow
        run.asked |= run.service not in books.lost
        for one in (run, *books.loaded(run)):
            if one.stop_at is None:
                one.stop_at, one.grace_s = books.now, books.specs[one.service].grace_s

    def _is_overdue(self, run: Run) -> bool:
        """Tell whether a model should have been unloaded long ago."""
        return run.stop_at is not None and self.books.now >= run.stop_at + run.grace_s

    def _relieves(self, run: Run) -> bool:
        """Tell whether a device of an idle run has been short of memory for long."""
        return self.books.evictable(run) and any(
            self.books.now >= since + LOW_S and (run.placement.on(device) or run.seen.get(device))
            for device, since in self.books.memory.low_from.items()
        )

    def _clears(self, run: Run, event: ev.Event) -> bool:
        """Tell whether an idle run leaves where another could not be loaded for want of memory."""
        if not isinstance(event, ev.RunGone) or not event.cause.out_of_memory:
            return False
        where = self.books.runs[event.run].placement
        units = {device.id: device.unit for device in self.books.config.devices}
        memory = [device for device in where.devices if units.get(device) is Unit.BYTES]
        gpus = [device for device in memory if device != RAM]
        return self.books.evictable(run) and any(
            run.placement.on(device) for device in gpus or memory
        )

    def _check_unasked(self, run: Run, event: ev.Event) -> None:
        """Object to the stop of a run that nobody asked to leave, unless there is a good reason."""
        books = self.books
        if isinstance(event, ev.RunsFound):
            # What was there before may be too much for a smaller machine.
            free = books.free()
            if all(free.get(device, -1) >= 0 for device in run.claims.devices):
                broken(15, f"run {run.id} of {run.service} was found, fits and is stopped")
        elif run.asleep and books.waiting(run.service):
            if fits(books.needs(run), books.promisable(most=False)):
                broken(15, f"run {run.id} of {run.service} is stopped, though it could wake")
        elif run.residue is None or run.asleep or not run.ready:
            self._check_idle(run, event)
        elif not self._relieves(run) and not self._clears(run, event):
            broken(15, f"run {run.id} of {run.service} is stopped, though it could sleep")

    def _check_idle(self, run: Run, event: ev.Event) -> None:
        """Object to the end of a run that nothing but idleness or scarcity could excuse."""
        if self._relieves(run) or self._clears(run, event):
            return
        spec = self.books.specs[run.service]
        if not (run.awake or run.asleep) or spec.pinned or spec.idle_s is None:
            broken(15, f"run {run.id} of {run.service} is stopped for no reason")
        if self.books.wanted_by(run.service):
            broken(15, f"run {run.id} of {run.service} is stopped though somebody waits for it")
        if not self.books.unused(run):
            broken(15, f"run {run.id} of {run.service} is stopped while it loads or unloads")
        if self.books.now < run.rested_at + spec.idle_s:
            broken(15, f"run {run.id} of {run.service} is stopped before it was idle for long")

    def _kill(self, effect: fx.KillRun) -> None:
        run = self._known(effect)
        if run.host is not None:
            broken(16, f"{run.service} is no process that could be killed")
        if run.stop_at is None or self.books.now < run.stop_at + run.grace_s:
            broken(6, f"run {run.id} of {run.service} is killed before its grace is over")
        run.kills += 1
        run.asked |= run.service not in self.books.lost

    def _known(self, effect: fx.StopRun | fx.KillRun | fx.SleepRun | fx.WakeRun) -> Run:
        run = self.books.runs.get(effect.run)
        if run is None or run.told_gone or run.service != effect.service:
            broken(10, f"{effect} is for a run that is gone")
        return run

    # Room

    def _explained(self, effect: fx.Explained) -> None:
        """Check that exactly those must leave who do, and that it helps."""
        books = self.books
        victims: list[Run] = []
        falling: list[Run] = []
        valued_by: dict[RunId, fx.Valued] = {}
        for valued in effect.victims:
            run = books.current.get(valued.service)
            if run is None or run.id != valued.run:
                broken(15, f"{valued} is no living run, yet shall leave for {effect.service}")
            self._check_progress(run)
            if not books.unused(run):
                self._check_drain(run, effect.service)
            elif not books.evictable(run):
                broken(15, f"run {run.id} of {run.service} is wanted, yet shall leave for room")
            if valued.sleeps and (run.residue is None or not run.awake):
                broken(15, f"run {run.id} of {run.service} shall sleep, yet cannot")
            (falling if valued.sleeps else victims).append(run)
            valued_by[run.id] = valued
        for victim in (*victims, *falling):
            if not any(victim.host == host.id for host in victims):
                self._victims[victim.id] = valued_by[victim.id]
                self._beneficiaries[victim.id] = effect.service
        room = books.promisable(most=True, without=victims, asleep=falling)
        if not fits(effect.placement, room):
            left = len(effect.victims)
            broken(15, f"{left} runs leave in vain: {effect.service} will not fit")
        for victim in (*victims, *falling):
            if victim.id not in self._victims:
                continue  # It leaves with its host.
            room = books.promisable(
                most=False,
                without=[run for run in victims if victim.id not in (run.id, run.host)],
                asleep=[run for run in falling if run is not victim],
            )
            if fits(effect.placement, room):
                broken(15, f"run {victim.id} of {victim.service} leaves for nothing")
        self._placements[effect.service] = (effect.placement,)
        self._wanted(effect.service, effect.want)
        may_leave = {one.service for one in effect.want.holders if one.stays is None}
        leave = [one.service for one in (*victims, *falling) if one.id in self._victims]
        if not may_leave.issuperset(leave):
            broken(15, f"who leaves for {effect.service} is told to stay: {effect.want}")
        if all(
            amount <= dict(effect.want.free)[device] for device, amount in effect.placement.amounts
        ):
            broken(15, f"{effect.service} is said to have room, yet others leave: {effect.want}")

    def _wanted(self, service: ServiceId, want: fx.Want) -> None:
        """Check that all who hold something where somebody wants room are told of."""
        told = {one.service for one in want.holders}
        for run in self.books.current.values():
            in_the_way = set(run.claims.devices) & set(want.placement.devices)
            if in_the_way and run.service not in (service, *told):
                broken(15, f"run {run.id} of {run.service} is in the way, yet not told of: {want}")

    def _check_progress(self, run: Run) -> None:
        """Object to a run that leaves for room before it served those that it was loaded for."""
        waiting = self.books.waiting(run.service)
        if waiting and (run.starting or run.waking):
            broken(14, f"the load of {run.service} is given up though somebody waits for it")
        if waiting and waiting[0].ticket <= run.batch_max:
            broken(14, f"run {run.id} of {run.service} shall leave before it served its batch")

    def _check_drain(self, run: Run, service: ServiceId) -> None:
        """Object to the drain of a run that serves, if those who want its room could wait."""
        books = self.books
        if books.now < books.patient_until(service):
            broken(6, f"run {run.id} of {run.service} serves, and {service} can wait for its room")
        if not books.drainable(run):
            broken(6, f"run {run.id} of {run.service} serves, and may not be made to leave")

    def _changed(self, effect: fx.Changed) -> None:
        """Note who was promised room: the one thing that only the core can tell."""
        run = self.books.current.get(effect.service)
        self.books.states[effect.service] = effect.new
        self._touch_host(effect.service)
        if effect.new is State.DRAINING and run is not None:
            if (valued := self._victims.pop(run.id, None)) is not None:
                run.drains_for = self._beneficiaries[run.id]
                run.drains_to_sleep = valued.sleeps
                run.drain_until = self.books.now + self.books.specs[run.service].drain_s
            else:
                run.drains_to_sleep = run.sleeps_by_hand
        elif effect.old is State.DRAINING and effect.new is State.READY and run is not None:
            if run.drains_for is not None:
                self.books.patient_from[run.drains_for] = self.books.now
            run.drains_for = None
            run.drains_to_sleep = run.sleeps_by_hand = False
        elif effect.old is State.SLEEPING and effect.new is State.ASLEEP and run is not None:
            if run.slept_at is None:
                broken(1, f"the claim of {run.service} is given back before it sleeps")
            run.sleep = Sleep.ASLEEP
        if effect.new is State.ASLEEP and run is not None:
            run.rested_at = self.books.now
        if effect.new is State.RESERVED:
            alternatives = self.books.placements(effect.service)
            placements = self._placements.pop(effect.service, alternatives)
            self._check_first(effect.service, placements)
            self.books.reserved[effect.service] = placements
        elif effect.new is State.ROUSING and run is not None:
            self._check_first(effect.service, (self.books.needs(run),))
            self.books.reserved[effect.service] = ()
        elif effect.new is State.DOWN or (
            effect.old is State.ROUSING and effect.new is not State.WAKING
        ):
            self.books.reserved.pop(effect.service, None)

    # The configuration

    def check_config(self, view: CoreView) -> None:
        """Who is configured is there, who is not leaves, and nobody lives on as he was."""
        books = self.books
        ids = [spec.id for spec in books.config.services]
        for number, one in enumerate(view.services):
            if one.is_removed != (number >= len(ids)):
                broken(18, f"{one.id} is told to be what it is not: {one}")
        if [one.id for one in view.services[: len(ids)]] != ids:
            broken(18, f"{ids} are configured, yet the core knows {view.services}")
        left = [one.id for one in view.services[len(ids) :]]
        if sorted(left) != sorted(books.removed):
            broken(18, f"{list(books.removed)} are leaving, yet the core knows {left}")
        for run in books.current.values():
            host = books.host_of(run)
            ends_with_host = host is not None and (host.outdated or host.stop_at is not None)
            serves = books.in_flight(run) or run.stop_at is not None
            if run.outdated and not serves and not ends_with_host:
                broken(18, f"run {run.id} of {run.service} is out of date, and stays for nobody")
