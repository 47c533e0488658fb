"""What runs teach: what it costs to bring them back, and what is thought of them next time."""

import attrs
import pytest

from proxycore import (
    Core,
    Experience,
    ExperienceFound,
    Explained,
    Idle,
    Peak,
    RequestFinished,
    RunGone,
    RunId,
    RunReady,
    RunSlept,
    RunWoke,
    ServiceSpec,
    SleepRequested,
    StartRun,
    TicketId,
    Valued,
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
    machine,
    on,
    serving,
    small,
)

RUN1, RUN2, RUN3 = RunId(1), RunId(2), RunId(3)


def test_of_two_idle_runs_the_less_wanted_leaves() -> None:
    """Three requests of the same half hour weigh more than one."""
    half = [ServiceSpec(service, (on(gpu0=9),)) for service in (CODER, EMBED)]
    core = serving(*half, small())
    for ticket in (2, 3):
        core.handle(arrived(ticket, CODER), T0)
    core.handle(arrived(4, EMBED), T0)
    core.handle(RunReady(EMBED, RUN2), T0)
    for ticket in (1, 2, 3, 4):
        core.handle(RequestFinished(TicketId(ticket)), T0)
    explained, *_ = core.handle(arrived(5, CHAT), T0)
    victim, spared = Valued(EMBED, RUN2, 10.0), Valued(CODER, RUN1, 10.0 * 3**0.4)
    assert isinstance(explained, Explained)
    assert (explained.victims, explained.spared) == ((victim,), (spared,))


def test_how_long_it_took_to_wake_is_learnt() -> None:
    """What it costs to send to sleep is what it takes to wake, as it was and not as declared."""
    sleeper = ServiceSpec(CODER, (on(gpu0=16),), asleep=(on(gpu0=1),), wake_s=2.0, load_s=60.0)
    core = serving(sleeper, small())
    core.handle(RequestFinished(TicketId(1)), T0)
    core.handle(SleepRequested(CODER), T0)
    core.handle(RunSlept(CODER, RUN1), T0)
    core.handle(arrived(2, CODER), T0)
    core.handle(RunWoke(CODER, RUN1), T0 + 7)
    core.handle(RequestFinished(TicketId(2)), T0 + 7)
    [explained] = [
        effect for effect in core.handle(arrived(3, CHAT), T0 + 7) if isinstance(effect, Explained)
    ]
    [sleeps] = explained.victims
    assert sleeps.sleeps
    requests = core.books.services[CODER].learnt.requests(T0 + 7)
    assert sleeps.value == pytest.approx(7.0 * requests**0.4)


def test_loads_side_by_side_teach_little() -> None:
    """They share a disk: of those only one that was quicker than was thought is believed."""
    core = Core(machine(big(), ServiceSpec(CHAT, (on(gpu1=8),))), now=T0)
    core.handle(arrived(1, CODER), T0)
    core.handle(arrived(2, CHAT), T0 + 1)
    core.handle(RunReady(CHAT, RUN2), T0 + 5)
    core.handle(RunReady(CODER, RUN1), T0 + 30)
    learnt = [service.experience.load_s for service in core.view().services]
    assert learnt == [None, 4.0]


def test_what_an_earlier_life_learnt_helps_who_waits() -> None:
    """Its service is smaller than was declared, so there is room."""
    core = serving(big(), small())
    core.handle(arrived(2, CHAT), T0)
    smaller = Experience(peaks=(Peak((14,), ((GPU0, 6),)),))
    effects = core.handle(ExperienceFound(((CHAT, smaller),)), T0 + 1)
    assert StartRun(CHAT, RUN2, on(gpu0=7)) in effects


def test_all_pay_rent_for_the_room_that_was_made() -> None:
    """So much for a byte as the load of the victim cost."""
    told: list[float] = []

    @attrs.frozen
    class Asked:
        name: str = "asked"

        def value(self, run: Idle) -> float:
            told.append(run.rent)
            return 1.0

    core = Core(machine(big(), small()), now=T0, policy=Asked())
    core.handle(arrived(1, CODER), T0)
    core.handle(RunReady(CODER, RUN1), T0 + 8)
    core.handle(RequestFinished(TicketId(1)), T0 + 8)
    core.handle(arrived(2, CHAT), T0 + 8)
    core.handle(RunGone(CODER, RUN1, EXIT), T0 + 8)
    core.handle(RunReady(CHAT, RUN2), T0 + 8)
    core.handle(RequestFinished(TicketId(2)), T0 + 8)
    told.clear()
    core.handle(arrived(3, CODER), T0 + 8)
    assert set(told) == {8 / 16}
