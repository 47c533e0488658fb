"""The promises of the core as assertions on what the World knows, each with a message in words.

The numbers are those of docs/architecture.md.  A check is sound: where the World cannot know (which
of its placements a service was promised), it supposes what favours the core.
"""

from typing import NoReturn, assert_never

from .. import effects as fx
from .. import events as ev
from .._ids import RAM, DeviceId, RunId, ServiceId
from .._lifecycle import State
from .._memory import LOW_S
from ..config import Placement, Unit
from ._books import Books, Client, Run, Stage, fits, less


class Broken(AssertionError):
    """The core broke a promise."""


def broken(number: int, words: str) -> NoReturn:
    raise Broken(f"promise {number}: {words}")


class Inspector:
    """Enters effects into the World's books, one by one, and objects to those that may not be."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._victims: dict[RunId, ServiceId] = {}
        self._placements: dict[ServiceId, tuple[Placement, ...]] = {}

    def enter(self, event: ev.Event, effects: tuple[fx.Effect, ...]) -> None:
        """Check the answer to an event and do what it asks for.

        Raises:
            Broken: a promise.
        """
        self._victims.clear()
        self._placements.clear()
        for effect in effects:
            match effect:
                case fx.StartRun():
                    self._start(effect)
                case fx.StopRun():
                    self._stop(effect, event)
                case fx.KillRun():
                    self._kill(effect)
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
                        self._wanted(effect.want)
                case fx.MeasureMemory():
                    pass
                case _:
                    assert_never(effect)
        for run, service in self._victims.items():
            broken(15, f"run {run} should make room for {service}, yet was never stopped")

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
        self._check_promised(effect, free)
        books.reserved.pop(effect.service, None)
        books.runs[effect.run] = books.current[effect.service] = Run(
            effect.service,
            effect.run,
            effect.placement,
            start_until=books.now + min(spec.start_s, spec.start_max_s),
            start_max_at=books.now + spec.start_max_s,
            rested_at=books.now,
            started_at=books.now,
            kept=any(client.by_hand for client in books.wanted_by(effect.service)),
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

    def _check_promised(self, effect: fx.StartRun, free: dict[DeviceId, int]) -> None:
        """Object to a start that takes bytes which somebody promised earlier still lacks."""
        left = less(free, [effect.placement])
        for service, placements in self.books.reserved.items():
            if service == effect.service:
                return
            if all(
                any(
                    device in effect.placement.devices and amount > left[device]
                    for device, amount in placement.amounts
                )
                for placement in placements
            ):
                broken(5, f"{effect.service} takes room that was promised to {service} before")

    def _stop(self, effect: fx.StopRun, event: ev.Event) -> None:
        books = self.books
        run = self._known(effect)
        slow = run.starting and books.now >= run.start_until
        for_room = self._victims.pop(run.id, None) is not None
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
        elif not run.draining and not stuck and not slow and not for_room:
            self._check_idle(run, event)
        run.blamed |= stuck or slow
        run.asked |= run.service not in books.lost
        for one in (run, *books.loaded(run)):
            one.stop_at = books.now if one.stop_at is None else one.stop_at

    def _is_overdue(self, run: Run) -> bool:
        """Tell whether a model should have been unloaded long ago."""
        grace_s = self.books.specs[run.service].grace_s
        return run.stop_at is not None and self.books.now >= run.stop_at + grace_s

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
        memory = [device for device in where.devices if units[device] is Unit.BYTES]
        gpus = [device for device in memory if device != RAM]
        return self.books.evictable(run) and any(
            run.placement.on(device) for device in gpus or memory
        )

    def _check_idle(self, run: Run, event: ev.Event) -> None:
        """Object to the stop of a run that nothing but idleness or scarcity could excuse."""
        if self._relieves(run) or self._clears(run, event):
            return
        spec = self.books.specs[run.service]
        if not run.ready or spec.pinned or spec.idle_s is None:
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
        grace_s = self.books.specs[run.service].grace_s
        if run.stop_at is None or self.books.now < run.stop_at + grace_s:
            broken(6, f"run {run.id} of {run.service} is killed before its grace is over")
        run.kills += 1
        run.asked |= run.service not in self.books.lost

    def _known(self, effect: fx.StopRun | fx.KillRun) -> Run:
        run = self.books.runs.get(effect.run)
        if run is None or run.told_gone or run.service != effect.service:
            broken(10, f"{effect} is for a run that is gone")
        return run

    # Tickets

    def _admit(self, effect: fx.Admit | fx.Started) -> None:
        books = self.books
        client = self._answered(effect)
        run = books.current.get(effect.service)
        if run is None or run.id != effect.run or not run.ready:
            broken(4, f"ticket {client.ticket} is sent to run {effect.run}, which is not ready")
        if run.stop_at is not None or run.draining:
            broken(4, f"ticket {client.ticket} is sent to run {run.id}, which is leaving")
        host = books.host_of(run)
        if host is not None and not host.serving:
            broken(4, f"ticket {client.ticket} is sent to run {host.id}, which is leaving")
        if client.by_hand != isinstance(effect, fx.Started):
            broken(3, f"ticket {client.ticket} gets the wrong kind of answer: {effect}")
        if client.by_hand:
            client.stage = Stage.OVER
            del books.clients[client.ticket]
            return
        limit = books.specs[run.service].concurrent_max
        if limit is not None and len(run.in_flight) >= limit:
            broken(4, f"run {run.id} of {run.service} serves more than {limit} at once")
        for other in books.waiting(run.service):
            if other.ticket < client.ticket and not other.by_hand:
                broken(4, f"ticket {client.ticket} overtakes {other.ticket}")
        client.stage, client.run = Stage.SERVED, run.id
        run.in_flight[client.ticket] = None

    def _touch_host(self, service: ServiceId) -> bool:
        """Let a host not rest when something happens to a model of it; tell if it is one."""
        host = self.books.specs[service].host
        if host is not None and (run := self.books.current.get(host)) is not None:
            run.rested_at = self.books.now
        return host is not None

    def _refuse(self, effect: fx.Refuse, event: ev.Event) -> None:
        client = self._answered(effect)
        if not self._true(effect.reason, client, event):
            broken(3, f"ticket {client.ticket} is told what is not so: {effect}")
        client.stage = Stage.OVER
        del self.books.clients[client.ticket]

    def _answered(self, effect: fx.Admit | fx.Started | fx.Refuse) -> Client:
        client = self.books.clients.get(effect.ticket)
        if client is None or client.stage is not Stage.WAITING:
            broken(3, f"ticket {effect.ticket} is over or was answered before: {effect}")
        if client.service != effect.service:
            broken(3, f"ticket {effect.ticket} is for {client.service}: {effect}")
        if self._touch_host(client.service) and client.service in self.books.current:
            # Who waits for a model may do so because its host drains: it rests from then on.
            self.books.current[client.service].rested_at = self.books.now
        return client

    def _true(self, reason: fx.Reason, client: Client, event: ev.Event) -> bool:
        """Tell whether the reason for a refusal is so, as far as the World knows."""
        books, service = self.books, client.service
        spec, run = books.specs[service], books.current.get(service)
        if spec.host is not None and self._is_true_of_host(reason, spec.host, event):
            return True
        match reason:
            case fx.Reason.QUEUE_FULL:
                return not client.by_hand and len(books.waiting(service)) > spec.queue_max
            case fx.Reason.QUEUE_TIMEOUT:
                return client.deadline_at <= books.now
            case fx.Reason.NEVER_FITS:
                empty = books.usable()
                return all(min(less(empty, way).values()) < 0 for way in books.ways(service))
            case fx.Reason.START_TIMEOUT:
                return run is not None and run.blamed
            case fx.Reason.SERVICE_FAILED:
                return run is None and books.last_failed.get(service, False)
            case fx.Reason.RUNTIME_LOST:
                return service in books.lost
            case fx.Reason.STOPPED:
                return isinstance(event, ev.StopRequested) and event.service == service
            case fx.Reason.SHUTTING_DOWN:
                return books.closing
            case _:
                assert_never(reason)

    def _is_true_of_host(self, reason: fx.Reason, host: ServiceId, event: ev.Event) -> bool:
        """Tell whether who wants a model is refused for what became of its host."""
        run = self.books.current.get(host)
        match reason:
            case fx.Reason.START_TIMEOUT:
                return run is not None and run.blamed
            case fx.Reason.SERVICE_FAILED:
                return run is None and self.books.last_failed.get(host, False)
            case fx.Reason.STOPPED:
                return isinstance(event, ev.StopRequested) and event.service == host
            case _:
                return False

    # Room

    def _explained(self, effect: fx.Explained) -> None:
        """Check that exactly those must leave who do, and that it helps."""
        books = self.books
        victims = []
        for valued in effect.victims:
            run = books.current.get(valued.service)
            if run is None or run.id != valued.run:
                broken(15, f"{valued} is no living run, yet shall leave for {effect.service}")
            self._check_progress(run)
            if not books.unused(run):
                self._check_drain(run, effect.service)
            elif not books.evictable(run):
                broken(15, f"run {run.id} of {run.service} is wanted, yet shall leave for room")
            victims.append(run)
        for victim in victims:
            if not any(victim.host == host.id for host in victims):
                self._victims[victim.id] = effect.service
        if not fits(effect.placement, books.promisable(most=True, without=victims)):
            broken(15, f"{len(victims)} runs leave in vain: {effect.service} will not fit")
        for victim in victims:
            if victim.id not in self._victims:
                continue  # It leaves with its host.
            others = [run for run in victims if victim.id not in (run.id, run.host)]
            if fits(effect.placement, books.promisable(most=False, without=others)):
                broken(15, f"run {victim.id} of {victim.service} leaves for nothing")
        self._placements[effect.service] = (effect.placement,)
        self._wanted(effect.want)
        may_leave = {one.service for one in effect.want.holders if one.stays is None}
        leave = [victim.service for victim in victims if victim.id in self._victims]
        if not may_leave.issuperset(leave):
            broken(15, f"who leaves for {effect.service} is told to stay: {effect.want}")
        if all(
            amount <= dict(effect.want.free)[device] for device, amount in effect.placement.amounts
        ):
            broken(15, f"{effect.service} is said to have room, yet others leave: {effect.want}")

    def _wanted(self, want: fx.Want) -> None:
        """Check that all who hold something where somebody wants room are told of."""
        told = {one.run for one in want.holders}
        for run in self.books.current.values():
            if set(run.placement.devices) & set(want.placement.devices) and run.id not in told:
                broken(15, f"run {run.id} of {run.service} is in the way, yet not told of: {want}")

    def _check_progress(self, run: Run) -> None:
        """Object to a run that leaves for room before it served those that it was loaded for."""
        waiting = self.books.waiting(run.service)
        if waiting and run.starting:
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
        self._touch_host(effect.service)
        if effect.new is State.DRAINING and run is not None:
            if (service := self._victims.pop(run.id, None)) is not None:
                run.drains_for = service
                run.drain_until = self.books.now + self.books.specs[run.service].drain_s
        elif effect.old is State.DRAINING and effect.new is State.READY and run is not None:
            if run.drains_for is not None:
                self.books.patient_from[run.drains_for] = self.books.now
            run.drains_for = None
        if effect.new is State.RESERVED:
            alternatives = self.books.placements(effect.service)
            placements = self._placements.pop(effect.service, alternatives)
            self.books.reserved[effect.service] = placements
        elif effect.new is State.DOWN:
            self.books.reserved.pop(effect.service, None)

    # Waiting

    def check_waiting(self) -> None:
        """Nobody waits past his time, and nobody waits for nothing."""
        books = self.books
        services = dict.fromkeys(client.service for client in books.waiting())
        for client in books.waiting():
            if client.deadline_at <= books.now:
                broken(3, f"ticket {client.ticket} had no answer when its time was over")
        for service in services:
            run = books.current.get(service)
            if (seeker := books.seeker(service)) is not None:
                self._check_waits_for_room(seeker)
            elif run is not None and run.ready and run.stop_at is None:
                self._check_waits_for_place(run)

    def _check_waits_for_room(self, service: ServiceId) -> None:
        books = self.books
        if service in books.reserved:
            leaving = any(run.stop_at is not None or run.draining for run in books.current.values())
            if not leaving and not books.verifying():
                broken(9, f"{service} was promised room, yet waits for nobody to leave")
        elif service in books.lost or books.verifying(service):
            return
        elif books.first_impatient() == service:
            if books.feasible(service):
                broken(13, f"{service} has waited long enough, and could have room")
        elif books.first_impatient() is None and books.feasible(service):
            broken(9, f"{service} waits for room, though there is some or could be")

    def _check_waits_for_place(self, run: Run) -> None:
        books = self.books
        limit = books.specs[run.service].concurrent_max
        host = books.host_of(run)
        if host is not None and not host.serving:
            return
        if run.draining and books.in_flight(run):
            return
        if limit is None or len(run.in_flight) < limit:
            broken(9, f"{run.service} is ready and has places free, yet some wait for it")
        if any(client.by_hand for client in books.waiting(run.service)):
            broken(9, f"{run.service} is ready, yet who started it by hand waits")
