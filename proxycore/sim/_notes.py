"""What the World does itself, entered into its books before the core hears of it."""

from .. import events as ev
from .._ids import ServiceId, TicketId
from ..config import CoreConfig
from ._books import Books, Client, Run, Sleep, Stage, fits


class Notes:
    """Keeps the books of a World."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def enter(self, event: ev.Event, client: Client | None) -> None:
        """Take note of an event, and of the client whose it is, if it is new."""
        books = self.books
        if client is not None:
            self._note_arrival(client)
        if isinstance(event, ev.RunEvent):
            run = books.current.get(event.service)
            if run is not None and run.id == event.run:
                self._note_run(run, event)
            return
        match event:
            case ev.RequestFinished():
                self._note_finished(event.ticket)
            case ev.StartRequested() | ev.RestartRequested() | ev.StopRequested():
                run = books.current.get(event.service)
                if run is not None and run.stop_at is None:
                    self._note_by_hand(run, event)
                host = self._host_of(event.service)
                if host is not None and host.stop_at is None:
                    self._note_model_by_hand(host, event)
            case ev.SleepRequested():
                run = books.current.get(event.service)
                able = run is not None and run.awake and run.residue is not None
                if run is not None and able and run.stop_at is None and not run.draining:
                    run.sleeps_by_hand = True
            case ev.ShutdownRequested():
                books.closing = True
                for run in books.current.values():
                    if run.host is not None:
                        continue  # It ends with its host.
                    run.cut_at, run.leaves_for_good = event.deadline_at, True
                    run.drains_for, run.drains_to_sleep, run.sleeps_by_hand = None, False, False
            case ev.ConfigReplaced():
                self._note_replaced(event.config)
            case ev.RunsFound():
                for found in event.found:
                    host = self._host_of(found.service)
                    run = Run(
                        found.service,
                        found.run,
                        found.placement,
                        self.books.now,
                        self.books.now,
                        rested_at=self.books.now,
                        kept=False,
                        host=None if host is None else host.id,
                        ready=True,
                        sleep=Sleep.ASLEEP if found.asleep else Sleep.AWAKE,
                        residue=books.memory.residue(books.specs[found.service], found.placement),
                        dozes=found.asleep,
                    )
                    books.runs[run.id] = books.current[run.service] = run
            case ev.RuntimeLost():
                for service in event.services:
                    books.lost |= dict.fromkeys((service, *books.models(service)))
            case ev.RuntimeFound():
                for service in event.services:
                    for one in (service, *books.models(service)):
                        books.lost.pop(one, None)
            case ev.MemoryMeasured():
                leaving = [
                    run
                    for run in books.current.values()
                    if run.stop_at is not None or run.falls_asleep
                ]
                books.memory.note_told(
                    event,
                    books.taken(),
                    self.books.now,
                    leaving=bool(leaving) or books.verifying(),
                    leaves_here=any(run.claims.on(event.device) for run in leaving),
                )
                for number, amount in event.by_run:
                    run = books.runs[number]
                    if not run.told_gone:
                        run.seen[event.device] = max(run.seen.get(event.device, 0), amount)
                        if run.served:
                            run.proved[event.device] = run.seen[event.device]
            case ev.MemoryUnknown():
                for device in event.devices:
                    books.memory.forget(device)
            case _:
                pass

    def _note_replaced(self, config: CoreConfig) -> None:
        books, before = self.books, dict(self.books.specs)
        known = [*(spec.id for spec in books.config.services), *books.removed]
        books.replace(config)
        usable = books.usable()
        for service in known:
            spec, old = books.specs[service], before[service]
            if old.fingerprint != spec.fingerprint:
                books.memory.forget_runs(service)
                for model in books.models(service):
                    books.last_failed.pop(model, None)
            if (old.fingerprint, old.placements) != (spec.fingerprint, spec.placements):
                books.last_failed.pop(service, None)
        for run in books.current.values():
            spec, old = books.specs[run.service], before[run.service]
            sleeps = run.stop_at is None and (
                run.sleep is not Sleep.AWAKE or run.drains_to_sleep or run.sleeps_by_hand
            )
            changed = run.service in books.removed or old.fingerprint != spec.fingerprint
            same_sleep = spec.residue(run.placement) == old.residue(run.placement)
            same_sleep &= fits(run.placement, usable)
            if not changed and (same_sleep or not sleeps):
                if not sleeps and run.stop_at is None:
                    run.residue = books.memory.residue(spec, run.placement)
                if run.asleep and (old.idle_s, old.pinned) != (spec.idle_s, spec.pinned):
                    run.rested_at = books.now
                continue
            run.outdated = True
            if run.host is not None and spec.host in books.removed:
                continue  # It ends with its host.
            if run.cut_at is None:
                run.cut_at = books.now + spec.drain_s
            run.leaves_for_good = True
            run.drains_for, run.drains_to_sleep, run.sleeps_by_hand = None, False, False

    def _note_arrival(self, client: Client) -> None:
        books = self.books
        for service in (client.service, books.specs[client.service].host):
            if service is not None and not client.by_hand and service in books.rested:
                gap_s = books.now - books.rested.pop(service)
                books.gaps.setdefault(service, []).append(gap_s)
        books.clients[client.ticket] = client

    def _host_of(self, service: ServiceId) -> Run | None:
        """Return the run of the host of a model, if it is one and its host has one."""
        host = self.books.specs[service].host
        return None if host is None else self.books.current.get(host)

    def _note_finished(self, ticket: TicketId) -> None:
        client = self.books.clients.pop(ticket, None)
        if client is None:
            return
        run, host = self.books.current.get(client.service), self._host_of(client.service)
        if client.stage is Stage.SERVED and run is not None:
            del run.in_flight[ticket]
            run.rested_at = self.books.now
            run.served = True
            for one in (run, host):
                if one is not None and self.books.unused(one):
                    self.books.rested[one.service] = self.books.now
        for one in (run, host) if client.stage is not Stage.BROKEN else ():
            if one is not None and (host is not None or one.asleep):
                one.rested_at = self.books.now
        client.stage = Stage.OVER

    def _note_model_by_hand(
        self, host: Run, event: ev.StartRequested | ev.RestartRequested | ev.StopRequested
    ) -> None:
        """A host whose model is wanted by hand is wanted itself."""
        if not isinstance(event, ev.StopRequested):
            host.kept |= host.starting
            if not host.leaves_for_good:
                host.cut_at = None

    def _note_by_hand(
        self, run: Run, event: ev.StartRequested | ev.RestartRequested | ev.StopRequested
    ) -> None:
        drained_at = self.books.now + self.books.specs[run.service].drain_s
        if not isinstance(event, ev.StartRequested):
            run.drains_for, run.drains_to_sleep, run.sleeps_by_hand = None, False, False
        match event:
            case ev.StartRequested():
                run.kept |= run.starting or run.waking
                if not run.leaves_for_good:
                    run.cut_at = None
            case ev.RestartRequested():
                run.cut_at = drained_at if run.cut_at is None else run.cut_at
                run.leaves_for_good = True
            case ev.StopRequested():
                run.cut_at = drained_at if run.cut_at is None else run.cut_at
                if event.force:
                    run.cut_at = self.books.now

    def _note_run(self, run: Run, event: ev.RunEvent) -> None:
        match event:
            case ev.RunAlive() if run.starting or run.waking:
                alive_until = self.books.now + self.books.specs[run.service].start_s
                run.start_until = min(alive_until, run.start_max_at)
            case ev.RunReady() if run.starting:
                run.ready, run.rested_at = True, self.books.now
                load_s = self.books.now - run.started_at
                spec = self.books.specs[run.service]
                known_s = self.books.memory.load_s(run.service, spec.load_s)
                if load_s > 0 and (run.loads_alone or load_s < known_s):
                    self.books.memory.loads.setdefault(run.service, []).append(load_s)
                run.batch_max = self.books.last_waiting(run.service)
            case ev.RunSlept() if run.falls_asleep and run.slept_at is None:
                run.slept_at = self.books.now
                if event.holds is not None:
                    memory = self.books.memory
                    memory.asleep.setdefault(run.service, []).append(event.holds)
                    run.residue = memory.residue(self.books.specs[run.service], run.placement)
            case ev.RunWoke() if run.waking:
                run.sleep, run.rested_at = Sleep.AWAKE, self.books.now
                run.batch_max = self.books.last_waiting(run.service)
            case ev.RunStuck() if run.ready:
                run.stuck = True
            case ev.RunGone():
                self._learn(run, event.cause)
                self.books.last_failed[run.service] = run.stop_at is None or run.blamed
                for one in (*self.books.loaded(run), run):
                    self._forget(one)
            case _:
                pass

    def _forget(self, run: Run) -> None:
        """The end of a run was told: its own, or that of its host."""
        run.told_gone, run.gone_at = True, self.books.now
        del self.books.current[run.service]
        for ticket in run.in_flight:
            self.books.clients[ticket].stage = Stage.BROKEN
        run.in_flight.clear()

    def _learn(self, run: Run, cause: ev.Cause) -> None:
        """Note the life of a run that teaches what its service takes."""
        if run.outdated or self.books.is_shared(run.service):
            return
        declared = self.books.declared(run)
        out_of_memory = cause.out_of_memory and run.stop_at is None
        if declared is not None and (out_of_memory or run.proved):
            lives = self.books.memory.lives.setdefault(run.service, [])
            lives.append((declared, run.placement, run.proved, out_of_memory))
