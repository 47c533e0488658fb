"""What `handle` answers, as whole values, and what it refuses to be told."""

import copy

import pytest

from proxycore import (
    Admit,
    Changed,
    Core,
    Event,
    Explained,
    FoundRun,
    Holder,
    LocalError,
    Reason,
    Refuse,
    RequestFinished,
    RunAlive,
    RunGone,
    RunId,
    RunReady,
    RunsFound,
    RunSlept,
    RuntimeLost,
    RunWoke,
    ServiceId,
    ServiceSpec,
    StartRequested,
    StartRun,
    State,
    StopRequested,
    StopRun,
    Tick,
    TicketId,
    Valued,
    Waiting,
    Want,
)

from .shapes import (
    CHAT,
    CODER,
    EMBED,
    EXIT,
    GPU0,
    T0,
    arrived,
    big,
    gone,
    machine,
    on,
    serving,
    small,
)

RUN1, RUN2, RUN3 = RunId(1), RunId(2), RunId(3)


def test_a_request_starts_its_service() -> None:
    """Room is promised and taken at once, and the ticket is told what it waits for."""
    core = Core(machine(big(), small()), now=T0)
    assert core.handle(arrived(1, CODER), T0) == (
        Changed(CODER, None, State.DOWN, State.RESERVED, "1 waiting"),
        Changed(CODER, RUN1, State.RESERVED, State.STARTING, "there is room"),
        StartRun(CODER, RUN1, on(gpu0=16)),
        Waiting(TicketId(1), CODER, 1, "starting", State.STARTING),
    )


def test_all_who_wait_share_one_load() -> None:
    """They are admitted together, in order of arrival."""
    core = Core(machine(big()), now=T0)
    for ticket in (1, 2, 3):
        core.handle(arrived(ticket, CODER), T0)
    assert core.handle(RunReady(CODER, RUN1), T0 + 5) == (
        Changed(CODER, RUN1, State.STARTING, State.READY, "it answers"),
        Admit(TicketId(1), CODER, RUN1),
        Admit(TicketId(2), CODER, RUN1),
        Admit(TicketId(3), CODER, RUN1),
    )


def test_an_idle_run_leaves_for_who_waits() -> None:
    """The choice is explained, and its claim stays until it is gone."""
    core = serving(big(), small())
    core.handle(RequestFinished(TicketId(1)), T0)
    holder = Holder(CODER, RUN1, on(gpu0=16), None, value=10.0, load_s=10.0, requests=1.0)
    want = Want(on(gpu0=14), ((GPU0, 7),), (holder,), T0 + 40.0)
    assert core.handle(arrived(2, CHAT), T0) == (
        Explained(CHAT, on(gpu0=14), (Valued(CODER, RUN1, 10.0),), (), want),
        Changed(CODER, RUN1, State.READY, State.STOPPING, "room for chat"),
        StopRun(CODER, RUN1, 10.0),
        Changed(CHAT, None, State.DOWN, State.RESERVED, "1 waiting"),
        Waiting(TicketId(2), CHAT, 1, "reserved", State.RESERVED),
    )
    assert core.handle(RunGone(CODER, RUN1, EXIT), T0 + 2) == (
        Changed(CODER, RUN1, State.STOPPING, State.DOWN, "room for chat"),
        Changed(CHAT, RUN2, State.RESERVED, State.STARTING, "there is room"),
        StartRun(CHAT, RUN2, on(gpu0=14)),
    )


def test_a_priority_is_served_first() -> None:
    """Of those who wait for the same room the higher priority gets it, not the earlier."""
    urgent = ServiceSpec(EMBED, (on(gpu0=14),), priority=1)
    core = serving(big(), small(), urgent)
    core.handle(arrived(2, CHAT), T0)
    core.handle(arrived(3, EMBED), T0)
    explained, *_ = core.handle(RequestFinished(TicketId(1)), T0)
    assert isinstance(explained, Explained)
    assert explained.service == EMBED


def test_a_service_that_never_fits_is_refused_at_once() -> None:
    """It would wait for ever."""
    core = Core(machine(ServiceSpec(CODER, (on(gpu0=24),))), now=T0)
    assert core.handle(arrived(1, CODER), T0) == (
        Refuse(
            TicketId(1),
            CODER,
            Reason.NEVER_FITS,
            "coder claims more than there is: 0.0 GiB more needed on gpu0",
        ),
    )


def test_a_service_whose_runtime_is_lost_is_not_started() -> None:
    """Who asks for it is told so, and may come again soon."""
    core = Core(machine(big(), small()), now=T0)
    core.handle(RuntimeLost((CODER,), "no engine"), T0)
    assert core.handle(arrived(1, CODER), T0) == (
        Refuse(TicketId(1), CODER, Reason.RUNTIME_LOST, "no engine", 5.0),
    )


def test_what_was_found_without_room_leaves() -> None:
    """Of what no longer fits together the first keep their place, and who fits beside them."""
    core = Core(machine(big(), small(), ServiceSpec(EMBED)), now=T0)
    found = (
        FoundRun(CODER, RUN1, on(gpu0=16)),
        FoundRun(CHAT, RUN2, on(gpu0=14)),
        FoundRun(EMBED, RUN3, on(gpu0=7)),
    )
    assert core.handle(RunsFound(found, RUN3), T0) == (
        Changed(CODER, RUN1, State.DOWN, State.READY, "found running"),
        Changed(CHAT, RUN2, State.DOWN, State.READY, "found running"),
        Changed(
            CHAT,
            RUN2,
            State.READY,
            State.STOPPING,
            "found running, but there is no room for it any more",
        ),
        StopRun(CHAT, RUN2, 10.0),
        Changed(EMBED, RUN3, State.DOWN, State.READY, "found running"),
    )


def test_a_model_that_was_found_ends_with_its_host() -> None:
    """There is no room for the host any more, so there is none for what lives in it."""
    router, model = ServiceId("router"), ServiceId("router/small")
    core = Core(
        machine(
            big(),
            ServiceSpec(router, (on(gpu0=10),)),
            ServiceSpec(model, (on(gpu1=4),), host=router),
        ),
        now=T0,
    )
    found = (
        FoundRun(CODER, RUN1, on(gpu0=16)),
        FoundRun(router, RUN2, on(gpu0=10)),
        FoundRun(model, RUN3, on(gpu1=4)),
    )
    stops = [one for one in core.handle(RunsFound(found, RUN3), T0) if isinstance(one, StopRun)]
    assert stops == [StopRun(router, RUN2, 10.0)]
    assert [one.state for one in core.view().services] == [
        State.READY,
        State.STOPPING,
        State.STOPPING,
    ]


def test_who_was_found_asleep_claims_what_it_holds() -> None:
    """Others have the rest of its room."""
    sleeper = ServiceSpec(CODER, (on(gpu0=16),), asleep=(on(gpu0=1),))
    core = Core(machine(sleeper, ServiceSpec(CHAT, (on(gpu0=22),))), now=T0)
    core.handle(RunsFound((FoundRun(CODER, RUN1, on(gpu0=16), asleep=True),), RUN1), T0)
    assert core.view().service(CODER).placement == on(gpu0=1)
    assert StartRun(CHAT, RUN2, on(gpu0=22)) in core.handle(arrived(1, CHAT), T0)


NOBODY = ServiceId("nobody")


@pytest.mark.parametrize(
    ("event", "now", "words"),
    [
        (Tick(), T0 - 1e-6, "the clock ran backwards"),
        (Tick(), float("nan"), "the clock ran backwards"),
        (arrived(2, NOBODY), T0, "unknown service 'nobody'"),
        (StopRequested(NOBODY), T0, "unknown service 'nobody'"),
        (RuntimeLost((CODER, NOBODY), "away"), T0, "unknown service 'nobody'"),
        (arrived(1, CODER), T0, "ticket 1 is not above 1"),
        (StartRequested(TicketId(0), CODER, T0 + 1), T0, "ticket 0 is not above 1"),
        (RequestFinished(TicketId(2)), T0, "ticket 2 never arrived"),
        (RunReady(CODER, RUN2), T0, "run 2 was never started"),
        (RunsFound((), RUN2), T0, "runs are found before any is started"),
    ],
)
def test_what_cannot_be_is_refused(event: Event, now: float, words: str) -> None:
    """The caller's fault is told, and nothing has changed."""
    core = serving(big(), small())
    before = copy.deepcopy(core.books)
    with pytest.raises(LocalError, match=words):
        core.handle(event, now)
    assert core.books == before


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            RunsFound((FoundRun(CODER, RUN1, on()), FoundRun(CODER, RUN2, on())), RUN2),
            "two found runs of one service",
        ),
        (RunsFound((FoundRun(CODER, RUN2, on()),), RUN1), "found run 2 is above run_max 1"),
        (RunsFound((FoundRun(CODER, RUN1, on(tpu=1)),), RUN1), "is on an unknown device"),
    ],
)
def test_what_cannot_have_been_found_is_refused(event: RunsFound, words: str) -> None:
    """Adoption, too, is checked before anything changes."""
    core = Core(machine(big()), now=T0)
    before = copy.deepcopy(core.books)
    with pytest.raises(LocalError, match=words):
        core.handle(event, T0)
    assert core.books == before


def test_the_view_tells_what_is_claimed_promised_and_free() -> None:
    """Leaving runs still claim; promised room is reserved, and free is what neither takes."""
    core = serving(big(), small())
    core.handle(RequestFinished(TicketId(1)), T0 + 1)
    core.handle(arrived(2, CHAT), T0 + 2)
    view = core.view()
    gpu0 = view.devices[0]
    assert (gpu0.id, gpu0.capacity, gpu0.headroom) == (GPU0, 24, 1)
    assert (gpu0.claimed, gpu0.reserved, gpu0.free) == (16, 14, 7)
    coder, chat = view.service(CODER), view.service(CHAT)
    assert (coder.state, coder.run, coder.placement) == (State.STOPPING, RUN1, on(gpu0=16))
    assert (chat.state, chat.run, chat.promised) == (State.RESERVED, None, on(gpu0=14))
    assert (chat.waiting, chat.in_flight, chat.since_at) == (1, 0, T0 + 2)
    with pytest.raises(KeyError):
        view.service(NOBODY)


def test_the_view_tells_when_the_next_try_is() -> None:
    """A failed service says why, how often in a row, and until when it rests."""
    core = Core(machine(big()), now=T0)
    core.handle(arrived(1, CODER), T0)
    core.handle(gone(core, CODER), T0 + 1)
    coder = core.view().service(CODER)
    assert (coder.state, coder.failures, coder.cause) == (State.BACKOFF, 1, EXIT)
    assert (coder.retry_at, coder.idle_until, coder.placement) == (T0 + 11, None, None)


@pytest.mark.parametrize(("ready_s", "state"), [(60.0, State.DOWN), (59.9, State.BACKOFF)])
def test_a_minute_of_service_makes_up_for_a_failure(ready_s: float, state: State) -> None:
    """Who ended once, and again after a minute or more, may start again at once."""
    core = serving(big())
    core.handle(RunGone(CODER, RUN1, EXIT), T0)
    core.handle(arrived(2, CODER), T0)
    core.handle(RunReady(CODER, RUN2), T0 + 5)
    core.handle(RunGone(CODER, RUN2, EXIT), T0 + 5 + ready_s)
    assert core.view().service(CODER).state is state


@pytest.mark.parametrize("kind", [RunReady, RunSlept, RunWoke, RunAlive])
def test_what_a_run_says_out_of_turn_changes_nothing(kind: type[RunReady]) -> None:
    """Ready already, it neither loads, nor sleeps, nor wakes."""
    core = serving(big())
    before = core.view(), core.deadline()
    assert core.handle(kind(CODER, RunId(1)), T0 + 1) == ()
    assert (core.view(), core.deadline()) == before


def test_a_load_that_is_joined_by_hand_is_kept() -> None:
    """Who needs its room waits, even when whoever wanted it by hand has left."""
    core = Core(machine(big(), small()), now=T0)
    core.handle(arrived(1, CODER), T0)
    core.handle(StartRequested(TicketId(2), CODER, T0 + 600), T0)
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(RequestFinished(TicketId(2)), T0)
    core.handle(arrived(3, CHAT), T0)
    assert core.view().service(CODER).state is State.STARTING
