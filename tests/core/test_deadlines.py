"""What is due and when: no order of events, and no lateness, changes what is done."""

import copy
from random import Random

from proxycore import (
    Changed,
    ConfigReplaced,
    CoreConfig,
    DeviceSpec,
    MemoryMeasured,
    Refuse,
    RequestArrived,
    RequestFinished,
    RunId,
    RunReady,
    ServiceSpec,
    ShutdownRequested,
    State,
    StopRequested,
    StopRun,
    Tick,
    TicketId,
)

from .shapes import (
    CHAT,
    CODER,
    EMBED,
    GPU0,
    T0,
    arrived,
    big,
    machine,
    on,
    serving,
    small,
)

RUN1, RUN2, RUN3 = RunId(1), RunId(2), RunId(3)


def test_a_shutdown_without_patience_cuts_at_once() -> None:
    """A deadline that is over on arrival is no timer: nothing is armed in the past."""
    core = serving(big())
    effects = core.handle(ShutdownRequested(deadline_at=T0), T0)
    assert effects[-1] == StopRun(CODER, RUN1, 10.0)
    assert core.deadline() == T0 + 15


def test_a_tick_before_its_time_does_nothing() -> None:
    """A spurious wake-up is normal."""
    core = serving(big(), small())
    core.handle(RequestFinished(TicketId(1)), T0 + 1)
    before, deadline = copy.deepcopy(core.books), core.deadline()
    assert core.handle(Tick(), T0 + 100) == ()
    before.now = T0 + 100
    assert (core.books, core.deadline()) == (before, deadline) == (before, T0 + 301)


def test_a_late_tick_does_not_matter() -> None:
    """Room that comes after a ticket's time is not made for that ticket.

    The ticket ends at 10, the drain that would have let it in at 12: who wakes up at 20 finds
    both due, and evicts nobody for a client that has been refused by rights.
    """
    drains = ServiceSpec(CODER, (on(gpu0=12),), drain_s=12.0)
    idle = ServiceSpec(EMBED, (on(gpu0=8),))
    core = serving(drains, idle, small())
    core.handle(arrived(2, EMBED), T0)
    core.handle(RunReady(EMBED, RUN2), T0)
    core.handle(RequestFinished(TicketId(2)), T0)
    core.handle(arrived(3, CHAT, wait_s=10.0), T0)
    core.handle(StopRequested(CODER), T0)
    punctual = copy.deepcopy(core)
    effects = punctual.handle(Tick(), T0 + 10) + punctual.handle(Tick(), T0 + 12)
    assert core.handle(Tick(), T0 + 20) == effects
    assert StopRun(EMBED, RUN2, 10.0) not in effects


def test_a_late_tick_ends_one_idleness_after_the_other() -> None:
    """The first that was over first, whatever the names; and who waited no longer than that."""
    quick, slow = ServiceSpec(EMBED, (on(gpu0=4),), idle_s=10.0), small()
    core = serving(slow, quick, serves=CHAT)
    core.handle(arrived(2, EMBED), T0)
    core.handle(RunReady(EMBED, RUN2), T0)
    for ticket in (1, 2):
        core.handle(RequestFinished(TicketId(ticket)), T0)
    assert core.handle(Tick(), T0 + 1000) == (
        Changed(EMBED, RUN2, State.READY, State.STOPPING, "idle"),
        StopRun(EMBED, RUN2, 10.0),
        Changed(CHAT, RUN1, State.READY, State.STOPPING, "idle"),
        StopRun(CHAT, RUN1, 10.0),
    )


def test_a_late_tick_fires_timers_and_ends_of_waits_by_one_order() -> None:
    """The first timer, then who waited as long, then the second timer."""
    idle = ServiceSpec(EMBED, (on(gpu0=4),), idle_s=10.0)
    core = serving(idle, big(), serves=EMBED)
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(arrived(2, CODER, wait_s=10.0), T0)
    core.handle(arrived(3, CODER), T0)
    effects = core.handle(Tick(), T0 + 400)
    told = [one.service for one in effects if isinstance(one, StopRun)]
    refused = [one.ticket for one in effects if isinstance(one, Refuse)]
    assert (told, refused) == ([EMBED, CODER], [2, 3])
    [late] = [one for one in effects if isinstance(one, Refuse) and one.ticket == 2]
    assert effects.index(StopRun(EMBED, RUN1, 10.0)) < effects.index(late)


def test_what_was_due_before_a_new_configuration_is_not_lost() -> None:
    """It is done, though the shell was late and the configuration came first."""
    core = serving(big())
    core.handle(RequestFinished(TicketId(1)), T0)
    effects = core.handle(ConfigReplaced(machine(big(), small())), T0 + 301)
    assert StopRun(CODER, RUN1, 10.0) in effects


def test_a_larger_headroom_counts_from_now() -> None:
    """What was enough by the old configuration may be little by the new one."""
    core = serving(big())
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(MemoryMeasured(GPU0, total=24, free=2, by_run=((RUN1, 16),)), T0)
    before = machine(big())
    devices = (DeviceSpec(GPU0, 24, headroom=4), *before.devices[1:])
    core.handle(ConfigReplaced(CoreConfig(devices, before.services)), T0 + 1)
    assert core.deadline() == T0 + 6
    assert StopRun(CODER, RUN1, 10.0) in core.handle(Tick(), T0 + 6)


def test_an_idle_run_tells_until_when_it_stays() -> None:
    """Counted from its last finish; while it serves there is no such time."""
    core = serving(big())
    assert core.view().service(CODER).idle_until is None
    core.handle(RequestFinished(TicketId(1)), T0 + 7)
    assert core.view().service(CODER).idle_until == T0 + 307


def test_who_was_answered_leaves_no_deadline_behind() -> None:
    """Nor do deadlines pile up behind one who waits on: they are memory."""
    one_place = ServiceSpec(CODER, (on(gpu0=16),), concurrent_max=1, idle_s=300.0)
    core = serving(one_place)
    core.handle(arrived(2, CODER, wait_s=50.0), T0)
    for ticket in range(3, 103):
        core.handle(arrived(ticket, CODER), T0)
        core.handle(RequestFinished(TicketId(ticket)), T0)
    assert core.deadline() == T0 + 50
    assert len(core.books.deadlines) < 10
    core.handle(RequestFinished(TicketId(2)), T0)
    core.handle(RequestFinished(TicketId(1)), T0)
    assert core.deadline() == T0 + 300
    assert core.books.deadlines == []


def test_the_first_end_of_a_wait_is_known() -> None:
    """However many were answered before it, and in whatever order."""
    random = Random(1)
    core = serving(ServiceSpec(CODER, (on(gpu0=16),), concurrent_max=1, queue_max=1000))
    waiting: dict[int, float] = {}
    for ticket in range(2, 400):
        waiting[ticket] = T0 + random.uniform(1.0, 1000.0)
        core.handle(RequestArrived(TicketId(ticket), CODER, waiting[ticket]), T0)
        while len(waiting) > 12:
            left = random.choice(list(waiting))
            del waiting[left]
            core.handle(RequestFinished(TicketId(left)), T0)
        assert core.deadline() == min(waiting.values())
