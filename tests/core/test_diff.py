"""Configurations that are replaced while services live; there are stories of it as well."""

import attrs
import pytest

from proxycore import (
    Admit,
    Changed,
    ConfigDiff,
    ConfigReplaced,
    Core,
    CoreConfig,
    DeviceSpec,
    LocalError,
    MemoryMeasured,
    Placement,
    Reason,
    Refuse,
    RequestFinished,
    RunGone,
    RunId,
    RunReady,
    ServiceId,
    ServiceSpec,
    StartRun,
    State,
    StopRequested,
    StopRun,
    TicketId,
    Unit,
    journal,
)
from proxycore.sim import journal_traffic

from .shapes import CHAT, CODER, EMBED, EXIT, GPU0, GPU1, T0, arrived, big, machine, on, serving

MODEL = ServiceId("router/small")
ROUTER = ServiceId("router")


def replaced(core: Core, *services: ServiceSpec, at: float = T0) -> tuple[object, ...]:
    return core.handle(ConfigReplaced(machine(*services)), at)


def test_the_difference_is_told_by_kind() -> None:
    """Each service is in one of the lists or in none; devices are those that differ."""
    same = ServiceSpec(ServiceId("same"))
    old = machine(same, big(CODER), big(CHAT), big(EMBED))
    other = attrs.evolve(big(CODER), fingerprint="new", idle_s=1.0)
    new = attrs.evolve(
        machine(same, ServiceSpec(ROUTER), other, attrs.evolve(big(CHAT), idle_s=1.0)),
        devices=(*old.devices[1:], attrs.evolve(old.devices[0], capacity=8)),
        linger=False,
    )
    assert ConfigDiff.of(old, new) == ConfigDiff(
        added=(ROUTER,),
        removed=(EMBED,),
        altered=(CODER,),
        adjusted=(CHAT,),
        devices=(GPU0,),
        linger=True,
    )
    assert not ConfigDiff.of(old, old)


def test_who_did_not_change_notices_nothing() -> None:
    """State, run, queue, what was learnt and timers are as before, whatever happens to others."""
    coder = attrs.evolve(big(), concurrent_max=1)
    core = serving(coder, ServiceSpec(EMBED))
    core.handle(arrived(2, CODER), T0)
    before, deadline = core.view().service(CODER), core.deadline()
    effects = replaced(core, ServiceSpec(CHAT, fingerprint="new"), coder, at=T0 + 1)
    assert (effects, core.view().service(CODER), core.deadline()) == ((), before, deadline)
    assert [one.id for one in core.view().services] == [CHAT, CODER]


def test_a_new_service_can_be_asked_for_at_once() -> None:
    """It is down, and starts for the first who comes."""
    core = serving(big())
    replaced(core, big(), ServiceSpec(EMBED))
    assert core.view().service(EMBED).state is State.DOWN
    assert StartRun(EMBED, RunId(2), Placement()) in core.handle(arrived(2, EMBED), T0)


def test_who_is_out_of_it_cannot_be_asked_for() -> None:
    """While its last run serves, it may be stopped by force, and that is all."""
    core = serving(big())
    replaced(core)
    assert core.view().service(CODER).is_removed
    with pytest.raises(LocalError, match="unknown service 'coder'"):
        core.handle(arrived(2, CODER), T0)
    assert core.handle(StopRequested(CODER, force=True), T0)[-1] == StopRun(CODER, RunId(1), 10.0)
    core.handle(RunGone(CODER, RunId(1), EXIT), T0)
    assert core.view().services == ()


def test_a_late_word_of_a_forgotten_service_is_normal() -> None:
    """Its run existed, so that it changes nothing; one that never did is still refused."""
    core = serving(big())
    core.handle(RequestFinished(TicketId(1)), T0)
    replaced(core)
    core.handle(RunGone(CODER, RunId(1), EXIT), T0)
    assert core.handle(RunGone(CODER, RunId(1), EXIT), T0) == ()
    assert core.handle(RunReady(CODER, RunId(1)), T0) == ()
    with pytest.raises(LocalError, match="run 2 was never started"):
        core.handle(RunReady(CODER, RunId(2)), T0)


def test_who_comes_back_before_it_is_gone_starts_anew() -> None:
    """What leaves does so for good; who waits then is served by a fresh run."""
    core = serving(big())
    replaced(core)
    replaced(core, big())
    assert not core.view().service(CODER).is_removed
    core.handle(arrived(2, CODER), T0)
    core.handle(RequestFinished(TicketId(1)), T0)
    assert StartRun(CODER, RunId(2), on(gpu0=16)) in core.handle(RunGone(CODER, RunId(1), EXIT), T0)


def test_what_runs_have_taught_is_forgotten_where_they_are_started_in_another_way() -> None:
    """How much it took and how long says nothing of the next; how often it is wanted does."""
    core = serving(big())
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(MemoryMeasured(GPU0, 24, 4, ((RunId(1), 20),)), T0)
    core.handle(StopRequested(CODER), T0 + 1)
    core.handle(MemoryMeasured(GPU0, 24, 24, ()), T0 + 1)
    core.handle(RunGone(CODER, RunId(1), EXIT), T0 + 1)
    assert core.view().service(CODER).estimates == (on(gpu0=21),)
    replaced(core, attrs.evolve(big(), idle_s=1.0), at=T0 + 2)
    assert core.view().service(CODER).estimates == (on(gpu0=21),)
    replaced(core, attrs.evolve(big(), fingerprint="new"), at=T0 + 2)
    view = core.view().service(CODER)
    assert view.estimates == (on(gpu0=16),)
    assert (view.experience.requests, view.experience.load_s) == (1.0, None)


def test_the_crash_of_a_run_that_leaves_is_no_failure_of_the_next() -> None:
    """It was started in another way: who waits is not refused for it."""
    core = serving(big())
    replaced(core, attrs.evolve(big(), fingerprint="new"))
    core.handle(arrived(2, CODER), T0)
    effects = core.handle(RunGone(CODER, RunId(1), EXIT), T0)
    assert StartRun(CODER, RunId(2), on(gpu0=16)) in effects


def test_who_is_pinned_meanwhile_serves_on() -> None:
    """A drain for room is undone; that by hand is not."""
    core = serving(big(), big(CHAT))
    core.handle(arrived(2, CHAT), T0)
    core.handle(arrived(3, CODER, at=T0 + 50), T0 + 50)
    assert core.view().service(CODER).state is State.DRAINING
    effects = replaced(core, attrs.evolve(big(), pinned=True), big(CHAT), at=T0 + 51)
    assert Changed(CODER, RunId(1), State.DRAINING, State.READY, "it is pinned now") in effects
    assert Admit(TicketId(3), CODER, RunId(1)) in effects


def test_a_run_lives_on_where_its_device_was_taken_out() -> None:
    """What it claims is what it was placed with; the next run goes by the new claims."""
    core = serving(big())
    devices = (DeviceSpec(GPU1, 24, headroom=0),)
    moved = ServiceSpec(CODER, (on(gpu1=16),), idle_s=300.0)
    assert core.handle(ConfigReplaced(CoreConfig(devices, (moved,))), T0) == ()
    view = core.view()
    assert view.service(CODER).placement == on(gpu0=16)
    assert [(one.id, one.claimed, one.free) for one in view.devices] == [(GPU1, 0, 24)]
    with pytest.raises(LocalError, match="no memory: 'gpu0'"):
        core.handle(MemoryMeasured(GPU0, 24, 4, ()), T0)


def test_who_waits_for_a_model_that_is_taken_out_is_told_so() -> None:
    """The reason is its own, not that of its host, which goes on."""
    router, model = ServiceSpec(ROUTER), ServiceSpec(MODEL, host=ROUTER)
    core = Core(machine(router, model), now=T0)
    core.handle(arrived(1, MODEL), T0)
    message = "router/small is not available any more: it was taken out of the configuration"
    assert replaced(core, router) == (Refuse(TicketId(1), MODEL, Reason.REMOVED, message),)
    assert core.view().service(ROUTER).state is State.STARTING


def test_what_cannot_be_replaced_is_refused_before_any_change() -> None:
    """A service keeps its host, and a device what it is counted in."""
    core = Core(machine(ServiceSpec(ROUTER), ServiceSpec(MODEL)), now=T0)
    before = core.view()
    with pytest.raises(LocalError, match="'router/small' cannot move into or out of a host"):
        replaced(core, ServiceSpec(ROUTER), ServiceSpec(MODEL, host=ROUTER))
    counted = CoreConfig((DeviceSpec(GPU0, 2, headroom=0, unit=Unit.MODELS),))
    with pytest.raises(LocalError, match="'gpu0' cannot be counted in something else"):
        core.handle(ConfigReplaced(counted), T0)
    assert core.view() == before


def test_a_journal_that_begins_in_between_replays() -> None:
    """Its head holds the configuration then in force, and who still leaves."""
    core = serving(big(), ServiceSpec(EMBED))
    replaced(core, ServiceSpec(EMBED))
    lines = [journal.head(core)]
    for event in (RequestFinished(TicketId(1)), RunGone(CODER, RunId(1), EXIT), arrived(2, EMBED)):
        lines.append(journal.entry(T0, event))
        effects = core.handle(event, T0)
    steps = list(journal.replay(lines))
    assert (steps[-1].effects, steps[-1].config) == (effects, machine(ServiceSpec(EMBED)))


def test_the_traffic_of_a_journal_has_everybody_who_was_ever_there() -> None:
    """Requests for a service that was taken out later can be simulated as well."""
    core = serving(big())
    lines = [journal.head(core)]
    for event in (arrived(2, CODER), ConfigReplaced(machine(ServiceSpec(EMBED)))):
        lines.append(journal.entry(T0, event))
        core.handle(event, T0)
    traffic = journal_traffic(lines)
    assert [spec.id for spec in traffic.config.services] == [CODER, EMBED]
    assert [request.service for request in traffic.requests] == [CODER]
