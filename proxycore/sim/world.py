"""A slow, dying, stuttering machine: it does what the core asks for, late, badly or never."""

import copy

from .. import effects as fx
from .. import events as ev
from .. import journal
from .._core import Core
from .._ids import RAM, DeviceId, RunId, ServiceId, TicketId
from ..config import CoreConfig
from ..policy import EvictionPolicy
from ._books import Books, Client, Run, Stage, less
from ._notes import Notes
from ._promises import Inspector
from ._rest import Rest
from ._tickets import broken

TICKS_MAX = 1000
"""So many deadlines within one `wait` are a loop, not a schedule."""
FAR_S = 1e6
"""How long those wait who shall see that a kind world serves everybody."""
KIND_S = 1e4
"""More than any time in a configuration: what a kind world may take between two steps."""


class World:
    """Clients, an operator, processes and a clock, with a core that shall keep its promises.

    Every method is something that may happen.  Who calls them (a seeded walk, Hypothesis, a test)
    decides what does; each call checks all promises and raises `Broken` at the first that is.

    Args:
        config: what the core decides by.
        now: where the clock starts; odd is good.
        policy: what the core asks for values; it may be as mad as it likes.
    """

    def __init__(
        self, config: CoreConfig, now: float, *, policy: EvictionPolicy | None = None
    ) -> None:
        self.config = config
        self._policy = policy
        self._ticket = 0
        self._boot(now, run_max=RunId(0))

    def _boot(self, now: float, run_max: RunId) -> None:
        self.core = Core(self.config, now=now, policy=self._policy)
        self.journal = [journal.head(self.core)]
        self.books = Books(self.config, now)
        self._notes = Notes(self.books)
        self._inspector = Inspector(self.books)
        self._rest = Rest(self.core, self.books, self._inspector)
        self.run_max = run_max
        self.answers: list[tuple[fx.Effect, ...]] = []
        """What the core had for each event of the journal."""

    @property
    def now(self) -> float:
        return self.books.now

    # Clients

    def arrive(self, service: ServiceId, wait_s: float) -> Client:
        return self._ask(ev.RequestArrived(self._next(), service, self.now + wait_s))

    def finish(self, client: Client) -> None:
        """End a request, whatever became of it: in full, or because the client left."""
        self._tell(ev.RequestFinished(client.ticket))

    # The operator

    def start(self, service: ServiceId, wait_s: float) -> Client:
        return self._ask(ev.StartRequested(self._next(), service, self.now + wait_s))

    def restart(self, service: ServiceId, wait_s: float) -> Client:
        return self._ask(ev.RestartRequested(self._next(), service, self.now + wait_s))

    def stop(self, service: ServiceId, *, force: bool = False) -> None:
        self._tell(ev.StopRequested(service, force))

    def sleep(self, service: ServiceId) -> None:
        self._tell(ev.SleepRequested(service))

    def shut_down(self, within_s: float) -> None:
        self._tell(ev.ShutdownRequested(self.now + within_s))

    def replace(self, config: CoreConfig) -> None:
        """Let another configuration be in force."""
        self._tell(ev.ConfigReplaced(config))

    # Runs

    def be_alive(self, run: Run) -> None:
        self._tell(ev.RunAlive(run.service, run.id))

    def be_ready(self, run: Run) -> None:
        self._tell(ev.RunReady(run.service, run.id))

    def be_stuck(self, run: Run) -> None:
        self._tell(ev.RunStuck(run.service, run.id, ev.Cause("stuck", "it answers no more")))

    def doze(self, run: Run) -> None:
        """Let a run fall asleep physically; the core does not know yet."""
        run.dozes = True
        run.uses = dict(run.may_use.amounts)

    def tell_slept(self, run: Run, holds: int | None = None) -> None:
        """Tell that a run sleeps, and perhaps how much it holds of a GPU at most, which is true."""
        if holds is not None and run.dozes:
            run.uses = {d: n if d == RAM else min(n, holds) for d, n in run.uses.items()}
        self._tell(ev.RunSlept(run.service, run.id, holds))

    def tell_woke(self, run: Run) -> None:
        self._tell(ev.RunWoke(run.service, run.id))

    def die(self, run: Run, *, late: bool = False) -> None:
        """End a run physically, asked or not; the core does not know yet.

        Args:
            run: which.
            late: whether its memory stays away until `give_back`.
        """
        memory = self.books.memory
        for one in (run, *self.books.loaded(run)):
            for device, amount in one.uses.items() if late and one.lives else ():
                memory.late[device] = memory.late.get(device, 0) + amount
            one.lives = False

    def tell_gone(self, run: Run, *, heals: bool = True, out_of_memory: bool = False) -> None:
        """Tell the end of a dead run, once more if it was told before."""
        cause = ev.Cause("exit", "it ended", heals, out_of_memory)
        self._tell(ev.RunGone(run.service, run.id, cause))

    def be_deaf(self, run: Run) -> None:
        """Let a run miss what it was asked; it will hear the next."""
        run.asked = False

    def hang(self, run: Run) -> None:
        run.hangs = True

    # Memory

    def use(self, run: Run, device: DeviceId, amount: int) -> None:
        """Let a living run use so much of a device, unseen as yet."""
        run.uses[device] = amount

    def intrude(self, device: DeviceId, amount: int) -> None:
        """Let strangers use so much of a device."""
        self.books.memory.strangers[device] = amount

    def give_back(self) -> None:
        """Let the driver give back what dead runs had."""
        self.books.memory.late.clear()

    def measure(self, device: DeviceId, *, complete: bool = True) -> None:
        uses: dict[RunId, int] = {}
        for run in self.books.runs.values():
            # What a model takes is seen as its host's: it is one process, or one container.
            owner = run.id if run.host is None else run.host
            if run.lives:
                uses[owner] = uses.get(owner, 0) + run.uses.get(device, 0)
        self._tell(self.books.memory.measured(device, uses, complete=complete))

    def be_blind(self, device: DeviceId) -> None:
        self._tell(ev.MemoryUnknown((device,)))

    # The runtime, and the core itself

    def lose(self, services: tuple[ServiceId, ...]) -> None:
        self._tell(ev.RuntimeLost(services, "the engine cannot be reached"))

    def find(self, services: tuple[ServiceId, ...]) -> None:
        self.wait(0.0)  # Who is leaving may be forgotten then.
        self._tell(ev.RuntimeFound(tuple(filter(self.books.is_there, services))))

    def kill_core(self, *, remembers: bool = False) -> None:
        """End the core without a word; a new one adopts what is healthy, the rest is removed.

        Args:
            remembers: whether the new one is told what the old one has learnt.
        """
        self.check_replay()
        healthy = [run for run in self.books.runs.values() if run.lives and run.ready]
        healthy = [run for run in healthy if run.stop_at is None and not run.stuck]
        healthy = [run for run in healthy if run.awake or run.asleep]
        healthy = [run for run in healthy if self.books.is_adoptable(run)]
        kept = [run.id for run in healthy]
        healthy = [run for run in healthy if run.host is None or run.host in kept]
        memory, gaps = self.books.memory, self.books.gaps
        for service in self.books.removed:
            memory.forget_runs(service)
            gaps.pop(service, None)
        learnt = tuple(
            (one.id, one.experience) for one in self.core.view().services if not one.is_removed
        )
        self._boot(self.now, max(self.books.runs, default=self.run_max))
        if remembers:
            self.books.memory.loads, self.books.memory.lives = memory.loads, memory.lives
            self.books.memory.asleep = memory.asleep
            self.books.gaps = gaps
            self._tell(ev.ExperienceFound(learnt))
        self._tell(
            ev.RunsFound(
                tuple(
                    ev.FoundRun(run.service, run.id, run.placement, run.asleep) for run in healthy
                ),
                self.run_max,
            )
        )

    # Time

    def rotate_journal(self) -> None:
        """Go on in a new journal, which begins with all that the core knows."""
        self.check_replay()
        self.forget_journal()

    def forget_journal(self) -> None:
        """Begin a new journal without a look at the old one."""
        self.journal, self.answers = [journal.head(self.core)], []

    def wait(self, seconds: float) -> None:
        """Let time pass, with a `Tick` at every deadline, as a good shell does."""
        until = self.now + seconds
        for _ in range(TICKS_MAX):
            deadline = self.core.deadline()
            if deadline is None or deadline > until:
                break
            self.books.now = deadline
            self._tell(ev.Tick())
        else:
            broken(8, f"{TICKS_MAX} deadlines within {seconds} s")
        self.books.now = until
        self._check_tick_is_spurious()

    def oversleep(self, seconds: float) -> None:
        """Let time pass and miss every deadline: the next event is the first to come."""
        self.books.now += seconds

    # Kindness

    def be_kind(self) -> None:
        """From now on every wish comes true: then everybody is answered, and soon.

        What was missed stays missed: who did not hear the stop waits for the kill, and who hangs
        goes on giving signs of life.

        Raises:
            Broken: promise 12, or any other.
        """
        self.find(tuple(self.books.lost))
        self._be_kind_to_memory()
        probes = [self.arrive(spec.id, FAR_S) for spec in self.config.services]
        steps_max = 30 * (len(probes) + len(self.books.clients))
        for _ in range(steps_max):
            if not self.books.waiting():
                return
            if self._kind_step():
                self._measure_all()
                continue
            deadline = self.core.deadline()
            if deadline is None or deadline > self.now + KIND_S:
                break
            pauses = [deadline - self.now]
            for run in list(self.books.current.values()):
                if run.starting or run.waking:
                    pauses.append(self.books.specs[run.service].start_s / 2)
                    self.be_alive(run)
            self.wait(min(pauses))
        for client in self.books.waiting():
            if not self._is_blocked(client.service):
                broken(12, f"ticket {client.ticket} for {client.service} waits in a kind world")

    def _be_kind_to_memory(self) -> None:
        """No strangers any more, and everybody keeps to his claim."""
        self.books.memory.strangers.clear()
        self.give_back()
        for run in self.books.runs.values():
            run.uses = dict(run.may_use.amounts)
        self._measure_all()

    def _measure_all(self) -> None:
        for device in list(self.books.memory.told):
            self.measure(device)

    def _kind_step(self) -> bool:
        """Do the first kind thing that can be done; tell whether there was any."""
        for run in self.books.current.values():
            if not run.lives or run.asked:
                self.die(run)
                self.tell_gone(run)
                return True
            if run.starting and not run.hangs:
                self.be_ready(run)
                return True
            if run.waking and not run.hangs:
                self.tell_woke(run)
                return True
            if run.falls_asleep:
                self.doze(run)
                self.tell_slept(run)
                return True
        for client in self.books.clients.values():
            if client.stage is not Stage.WAITING:
                self.finish(client)
                return True
        return False

    def _is_blocked(self, service: ServiceId) -> bool:
        """Tell whether pinned runs leave no room for a service for ever."""
        specs, host = self.books.specs, self.books.specs[service].host
        pinned = [run for run in self.books.current.values() if run.ready]
        pinned = [run for run in pinned if run.service != service]
        pinned = [run for run in pinned if specs[run.service].pinned]
        stays = {run.id: run.placement for run in pinned}
        for run in pinned:
            if run.host is not None:
                stays[run.host] = self.books.runs[run.host].placement
        for run in self.books.current.values():
            if run.service == host:
                stays[run.id] = run.placement
                ways = [[placement] for placement in self.books.placements(service)]
                break
        else:
            ways = self.books.ways(service)
        room = less(self.books.usable(), stays.values())
        return all(min(less(room, way).values()) < 0 for way in ways)

    # Telling the core, and checking its answer

    def tell(self, event: ev.Event) -> tuple[fx.Effect, ...]:
        """Tell the core what somebody else decided to let happen; return its answer."""
        match event:
            case ev.RequestArrived() | ev.StartRequested() | ev.RestartRequested():
                self._ask(event)
            case _:
                self._tell(event)
        return self.answers[-1]

    def check_replay(self) -> None:
        """Check that the journal brings the same effects, in a fresh core."""
        for replayed, answer in zip(
            journal.replay(self.journal, self._policy), self.answers, strict=True
        ):
            if replayed.effects != answer:
                broken(11, f"the replay of {replayed.event} brings other effects")

    def _next(self) -> TicketId:
        self._ticket += 1
        return TicketId(self._ticket)

    def _ask(self, event: ev.RequestArrived | ev.StartRequested | ev.RestartRequested) -> Client:
        client = Client(
            event.ticket,
            event.service,
            self.now,
            event.deadline_at,
            by_hand=not isinstance(event, ev.RequestArrived),
        )
        self._tell(event, client)
        return client

    def _tell(self, event: ev.Event, client: Client | None = None) -> None:
        """Tell the core, do what it asks for, and check every promise."""
        deadline = self.core.deadline()
        if deadline is not None and deadline <= self.now and not isinstance(event, ev.Tick):
            self._check_late_tick(event)
            self._tell(ev.Tick())
        stale, same = self._is_stale(event), self._is_same(event)
        before = (self.core.view(), self.core.deadline()) if stale or same else None
        self._notes.enter(event, client)
        effects = self.core.handle(event, self.now)
        self.journal.append(journal.entry(self.now, event))
        self.answers.append(effects)
        changed = before and (effects or (self.core.view(), self.core.deadline()) != before)
        if stale and changed:
            broken(10, f"the stale {event} changes something: {effects}")
        if same and changed:
            broken(18, f"the configuration told again changes something: {effects}")
        self._inspector.enter(event, effects)
        self._rest.check()

    def _is_stale(self, event: ev.Event) -> bool:
        if isinstance(event, ev.RunEvent):
            current = self.books.current.get(event.service)
            return current is None or current.id != event.run
        return False

    def _is_same(self, event: ev.Event) -> bool:
        if not isinstance(event, ev.ConfigReplaced):
            return False
        same = event.config == self.config
        self.config = event.config
        return same

    def _check_late_tick(self, event: ev.Event) -> None:
        """Whether a due `Tick` comes before an event, or not at all, is the same."""
        early, late, again = (copy.deepcopy(self.core) for _ in range(3))
        effects = late.handle(event, self.now)
        if again.handle(event, self.now) != effects:
            broken(11, f"told once more, {event} brings other effects")
        timely = early.handle(ev.Tick(), self.now) + early.handle(event, self.now)
        if effects != timely or late.view() != early.view():
            broken(8, f"{event} brings other effects because the Tick before it was late")

    def _check_tick_is_spurious(self) -> None:
        before = self.core.view(), self.core.deadline()
        effects = self.core.handle(ev.Tick(), self.now)
        if effects or (self.core.view(), self.core.deadline()) != before:
            broken(8, f"a Tick before the deadline changes something: {effects}")
