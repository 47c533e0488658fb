"""Who wants room is told what it lacks and what keeps each holder where it is."""

import pytest

from proxycore import (
    RAM,
    Core,
    Effect,
    Explained,
    Holder,
    LocalError,
    MemoryMeasured,
    Refuse,
    RequestFinished,
    RunId,
    RunReady,
    RuntimeLost,
    ServiceId,
    ServiceSpec,
    Stay,
    StopRequested,
    Tick,
    TicketId,
    Waiting,
    Want,
)
from proxycore._verbs import KILL_AFTER_S, KILL_AGAIN_S

from .shapes import CHAT, CODER, EMBED, GPU0, T0, arrived, big, machine, on, serving, small

RUN1 = RunId(1)


def wanted(effects: tuple[Effect, ...]) -> Want:
    """Return what the only wait among the effects is for."""
    [want] = [one.want for one in effects if isinstance(one, Waiting)]
    assert want is not None
    return want


def why_it_stays(core: Core, now: float = T0) -> tuple[Stay | None, float | None]:
    """Let a request for chat wait; return why the only one in its way stays, and until when."""
    [one] = wanted(core.handle(arrived(99, CHAT), now)).holders
    return one.stays, one.until_at


def test_a_wait_for_room_is_told_whole() -> None:
    """Need, what is free, who is in the way, and until when it lets them be."""
    core = serving(big(), small())
    holder = Holder(CODER, RUN1, on(gpu0=16), Stay.SERVES, load_s=10.0, requests=1.0)
    assert wanted(core.handle(arrived(2, CHAT), T0)) == Want(
        on(gpu0=14), ((GPU0, 7),), (holder,), T0 + 40
    )


def test_the_place_that_lacks_least_is_told() -> None:
    """Of several that would do: what is worth waiting for."""
    either = ServiceSpec(CHAT, (on(gpu0=23), on(gpu1=9), on(gpu0=14)))
    core = serving(big(), either)
    assert wanted(core.handle(arrived(2, CHAT), T0)).placement == on(gpu1=9)


def test_what_may_leave_makes_a_place_lack_less() -> None:
    """Though all that may leave there does not suffice."""
    idle = ServiceSpec(EMBED, (on(gpu1=8),))
    either = ServiceSpec(CHAT, (on(gpu0=10, gpu1=8), on(gpu0=15)))
    core = serving(big(), idle, either)
    core.handle(arrived(2, EMBED), T0)
    core.handle(RunReady(EMBED, RunId(2)), T0)
    core.handle(RequestFinished(TicketId(2)), T0)
    assert wanted(core.handle(arrived(3, CHAT), T0)).placement == on(gpu0=10, gpu1=8)


def test_a_wait_for_anything_else_wants_no_room() -> None:
    """The state says it."""
    core = Core(machine(small()), now=T0)
    *_, waiting = core.handle(arrived(1, CHAT), T0)
    assert isinstance(waiting, Waiting)
    assert waiting.want is None


def test_who_loads_for_somebody_stays() -> None:
    core = Core(machine(big(), small()), now=T0)
    core.handle(arrived(1, CODER), T0)
    assert why_it_stays(core) == (Stay.LOADS, None)


def test_who_is_pinned_stays() -> None:
    core = serving(ServiceSpec(CODER, (on(gpu0=16),), pinned=True), small())
    core.handle(RequestFinished(TicketId(1)), T0)
    assert why_it_stays(core) == (Stay.PINNED, None)


def test_who_is_out_of_reach_stays() -> None:
    core = serving(big(), small())
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(RuntimeLost((CODER,), "away"), T0)
    assert why_it_stays(core) == (Stay.LOST, None)


def test_who_is_wanted_soon_stays_until_a_point_in_time() -> None:
    """Two of its usual return gaps after it went idle."""
    core = serving(ServiceSpec(CODER, (on(gpu0=16),), load_s=60.0), small())
    core.handle(RequestFinished(TicketId(1)), T0 + 100)
    core.handle(arrived(2, CODER), T0 + 104)
    core.handle(RequestFinished(TicketId(2)), T0 + 110)
    core.books.services[CODER].learnt.load_s = 60.0
    assert why_it_stays(core, T0 + 111) == (Stay.WANTED_SOON, T0 + 118)


def test_who_does_not_end_is_stuck() -> None:
    """Its room is not counted on any more."""
    core = serving(big(), small())
    core.handle(StopRequested(CODER, force=True), T0)
    core.handle(Tick(), T0 + 10 + KILL_AFTER_S)
    core.handle(Tick(), T0 + 10 + KILL_AFTER_S + KILL_AGAIN_S)
    assert why_it_stays(core, T0 + 30) == (Stay.STUCK, None)


def test_who_leaves_counts_as_room_and_is_told_of() -> None:
    """So that nobody wonders where a promise comes from."""
    both = ServiceSpec(EMBED, (on(gpu0=20),))
    core = serving(big(), small(), both)
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(arrived(2, CHAT), T0)
    want = wanted(core.handle(arrived(3, EMBED), T0))
    assert [(one.service, one.stays) for one in want.holders] == [
        (CODER, Stay.LEAVING),
        (CHAT, Stay.PROMISED),
    ]
    assert want.free == ((GPU0, 9),)


def test_what_cannot_help_may_leave_but_does_not() -> None:
    """Of the idle, the value is told."""
    pinned = ServiceSpec(CODER, (on(gpu0=12),), pinned=True)
    idle = ServiceSpec(EMBED, (on(gpu0=4),))
    core = serving(pinned, idle, small())
    core.handle(arrived(2, EMBED), T0)
    core.handle(RunReady(EMBED, RunId(2)), T0)
    core.handle(RequestFinished(TicketId(2)), T0)
    want = wanted(core.handle(arrived(3, CHAT), T0))
    assert [(one.stays, one.value) for one in want.holders] == [(Stay.PINNED, None), (None, 10.0)]


def test_who_waited_in_vain_is_told_what_for() -> None:
    """A refusal after the wait has the same figures."""
    core = serving(big(), small())
    core.handle(arrived(2, CHAT), T0)
    refused = core.handle(Tick(), T0 + 600.0)
    [want] = [one.want for one in refused if isinstance(one, Refuse)]
    assert want is not None
    assert [(one.service, one.stays) for one in want.holders] == [(CODER, Stay.SERVES)]


def test_an_eviction_tells_who_is_no_candidate() -> None:
    """Whoever asks why it was this one sees why it was not the other."""
    idle = ServiceSpec(EMBED, (on(gpu0=7),))
    core = serving(big(), idle, ServiceSpec(CHAT, (on(gpu0=7),)))
    core.handle(arrived(2, EMBED), T0)
    core.handle(RunReady(EMBED, RunId(2)), T0)
    core.handle(RequestFinished(TicketId(2)), T0)
    [explained] = [one for one in core.handle(arrived(3, CHAT), T0) if isinstance(one, Explained)]
    assert [(one.service, one.stays) for one in explained.want.holders] == [
        (CODER, Stay.SERVES),
        (EMBED, None),
    ]


def test_strangers_are_told_of_where_they_are_in_the_way() -> None:
    """A device may have more than its capacity says; what they hold beyond is in nobody's way."""
    for total, told in ((24, ((GPU0, 3),)), (26, ((GPU0, 1),)), (27, ())):
        core = serving(big(), small())
        measured = MemoryMeasured(GPU0, total=total, free=total - 19, by_run=((RUN1, 16),))
        core.handle(measured, T0)
        assert wanted(core.handle(arrived(2, CHAT), T0)).foreign == told


def test_what_a_service_could_have_at_most() -> None:
    """All who may leave count as gone; who is pinned stays, and what strangers hold."""
    pinned = ServiceSpec(EMBED, (on(gpu0=2),), pinned=True)
    core = serving(pinned, big(), small(), serves=EMBED)
    core.handle(arrived(2, CODER), T0)
    assert core.at_most(CHAT) == Want(on(gpu0=14), ((GPU0, 21),), (), T0)
    by_run = tuple((run, size) for run, size in ((RUN1, 2), (RunId(2), 16)))
    core.handle(MemoryMeasured(GPU0, 24, 1, by_run), T0)
    assert core.at_most(CHAT) == Want(on(gpu0=14), ((GPU0, 16),), (), T0, ((GPU0, 5),))


def test_what_a_run_claims_counts_while_it_lives() -> None:
    """At the place where it is, though it may have another where it lacks less."""
    two = ServiceSpec(CODER, (on(gpu0=22), on(gpu1=4)))
    core = serving(two)
    assert core.at_most(CODER) == Want(on(gpu0=22), ((GPU0, 23),), (), T0)
    assert Core(machine(two), now=T0).at_most(CODER).placement == on(gpu0=22)


def test_a_model_needs_its_server_too() -> None:
    """What it needs is told together with its host, running or not."""
    host = ServiceSpec(CODER, (on(gpu0=10, ram=4),))
    model = ServiceSpec(CHAT, (on(gpu0=14),), host=CODER)
    core = Core(machine(host, model), now=T0)
    want = Want(on(gpu0=24, ram=4), ((GPU0, 23), (RAM, 32)), (), T0)
    assert core.at_most(CHAT) == want
    [refused] = core.handle(arrived(1, CHAT), T0)
    assert isinstance(refused, Refuse)
    assert refused.message == "chat claims more than there is: 0.0 GiB more needed on gpu0"
    core.handle(arrived(2, CODER), T0)
    core.handle(RunReady(CODER, RUN1), T0)
    assert core.at_most(CHAT) == want


def test_an_unknown_service_could_have_nothing() -> None:
    with pytest.raises(LocalError, match="unknown service 'nobody'"):
        Core(machine(big()), now=T0).at_most(ServiceId("nobody"))
