"""Runs are put to sleep and woken as the core decides, by what their configuration says."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import LocalError, Placement, RunId, ServiceId, State
from proxycore.config import GIB
from proxyserver.runtime import Call
from proxyserver.settings import Service
from tests.rig.fake_runtime import Script

from .rig import CHAT, CODER, GPU, conducting, service

SLOW = Script(ready_s=30.0)


def sleeper(name: ServiceId, residue: int) -> Service:
    """Return a service that holds a residue on the GPU while it sleeps."""
    awake = service(name, asleep=(Placement.of([(GPU, residue)]),))
    launch = attrs.evolve(awake.launch, sleep=(Call("/sleep"),), wake=(Call("/wake"),))
    return attrs.evolve(awake, launch=launch)


async def test_who_can_sleep_does_so_where_the_residue_fits(autojump_clock: MockClock) -> None:
    """It makes room for another, and wakes before it serves again."""
    services = (sleeper(CHAT, GIB), service(CODER))
    async with conducting({CHAT: SLOW, CODER: SLOW}, services=services) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        async with rig.conductor.slot(CODER) as slot:
            assert rig.state(CHAT) is State.ASLEEP
            assert slot.run == RunId(2)
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(1)
        assert rig.judge.calls == ["/sleep", "/wake"]
        assert State.STOPPING not in rig.states(CHAT)


async def test_who_would_sleep_in_the_way_is_stopped(autojump_clock: MockClock) -> None:
    """What it holds asleep would leave no room."""
    services = (sleeper(CHAT, 10 * GIB), service(CODER))
    async with conducting({CHAT: SLOW, CODER: SLOW}, services=services) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        async with rig.conductor.slot(CODER):
            assert rig.state(CHAT) is State.DOWN
        assert rig.judge.calls == []


async def test_who_is_killed_asleep_is_started_again(autojump_clock: MockClock) -> None:
    """Whoever wants it gets a fresh run."""
    async with conducting(services=(sleeper(CHAT, GIB),)) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        await rig.conductor.sleep(CHAT)
        assert rig.state(CHAT) is State.ASLEEP
        rig.machine.end(CHAT)
        await trio.sleep(1.0)
        assert rig.state(CHAT) is State.DOWN
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(2)


async def test_who_does_not_wake_is_started_again(autojump_clock: MockClock) -> None:
    """Who waits for it notices nothing but the time."""
    async with conducting(services=(sleeper(CHAT, GIB),)) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        await rig.conductor.sleep(CHAT)
        rig.judge.faults["/wake"] = "no"
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(2)


async def test_to_wake_may_take_several_calls(autojump_clock: MockClock) -> None:
    """One after the other; the first that fails ends the run."""
    one = sleeper(CHAT, GIB)
    wake = tuple(map(Call, ("/weights", "/reload", "/cache")))
    one = attrs.evolve(one, launch=attrs.evolve(one.launch, wake=wake))
    async with conducting(services=(one,)) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        await rig.conductor.sleep(CHAT)
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(1)
        assert rig.judge.calls == ["/sleep", "/weights", "/reload", "/cache"]
        rig.judge.faults["/reload"] = "no"
        rig.judge.calls.clear()
        await rig.conductor.sleep(CHAT)
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(2)
        assert rig.judge.calls == ["/sleep", "/weights", "/reload"]


@pytest.mark.parametrize(("talks", "run"), [(True, 1), (False, 2)])
async def test_to_wake_may_take_as_long_as_the_log_goes_on(
    autojump_clock: MockClock, talks: bool, run: int
) -> None:
    """A silent one is given up, and started again."""
    one = sleeper(CHAT, GIB)
    one = attrs.evolve(one, spec=attrs.evolve(one.spec, start_s=5.0))
    async with conducting(services=(one,)) as rig, trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                await trio.sleep(2.0)
                rig.machine.say(CHAT, "reading weights")

        async with rig.conductor.slot(CHAT):
            pass
        await rig.conductor.sleep(CHAT)
        rig.judge.slow["/wake"] = 20.0
        if talks:
            nursery.start_soon(talk)
        async with rig.conductor.slot(CHAT) as slot:
            assert slot.run == RunId(run)
        nursery.cancel_scope.cancel()


async def test_what_the_log_says_is_claimed(autojump_clock: MockClock) -> None:
    """From the first sleep on; a log that says nothing changes nothing, and takes a moment."""
    one = sleeper(CHAT, GIB)
    line = r"freed (?P<freed>\S+) GiB, (?P<used>\S+) GiB"
    one = attrs.evolve(one, launch=attrs.evolve(one.launch, asleep_line=line))
    async with conducting(services=(one,)) as rig:
        for said, claimed in ((None, 1.0), ("freed 9.00 GiB, 20.00 GiB", 5.0)):
            async with rig.conductor.slot(CHAT):
                pass
            if said is not None:
                rig.machine.say(CHAT, said)
            await rig.conductor.sleep(CHAT)
            placement = rig.conductor.view().service(CHAT).placement
            assert placement == Placement.of([(GPU, round(claimed * GIB))])


async def test_nothing_is_stuck_while_it_sleeps(autojump_clock: MockClock) -> None:
    """Who sleeps answers no probe, so none is asked."""
    async with conducting(services=(sleeper(CHAT, GIB),)) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        await rig.conductor.sleep(CHAT)
        rig.judge.stuck.set()
        await trio.sleep(60.0)
        assert rig.state(CHAT) is State.ASLEEP


async def test_who_cannot_sleep_is_not_put_to_sleep(autojump_clock: MockClock) -> None:
    """The mistake is the caller's."""
    async with conducting() as rig:
        with pytest.raises(LocalError, match="cannot sleep"):
            await rig.conductor.sleep(CHAT)
