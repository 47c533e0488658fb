"""What the conductor owes to those who are served while another configuration comes into force."""

import pytest
import trio
from trio.testing import MockClock

from proxycore import CoreConfig, Reason, RunId, ServiceId, ServiceSpec, State
from proxyserver.refused import Refused
from proxyserver.runtime import LaunchSpec, ProcessSpec, Runtime
from proxyserver.settings import Service
from proxyserver.settings._settings import RuntimeName
from tests.conductor.rig import CHAT, CODER, DEVICES, Rig, conducting
from tests.rig.fake_runtime import FakeMachine, FakeRuntime, Script

NEW = ServiceId("new")


async def replace(rig: Rig, *services: Service, **runtimes: Runtime) -> None:
    config = CoreConfig(DEVICES, tuple(one.spec for one in services))
    await rig.conductor.replace(config, {one.spec.id: one for one in services}, runtimes)


def small(name: ServiceId, fingerprint: str = "1", runtime: RuntimeName = "process") -> Service:
    """Return a service that claims nothing."""
    launch = LaunchSpec(name, ProcessSpec(("true",)), fingerprint=fingerprint)
    spec = ServiceSpec(name, fingerprint=fingerprint)
    return Service(spec, launch, "custom", runtime, wait_s=600.0)


async def hold(rig: Rig, name: ServiceId, until: trio.Event) -> int:
    """Hold a place until told; return the run that gave it."""
    async with rig.conductor.slot(name) as slot:
        await until.wait()
        return slot.run


async def test_who_did_not_change_is_not_touched(autojump_clock: MockClock) -> None:
    """The connections of its run are as they were, and it serves on."""
    async with conducting(services=(small(CHAT), small(CODER))) as rig:
        async with rig.conductor.slot(CHAT) as slot:
            await replace(rig, small(CHAT), small(NEW))
            await trio.sleep(1.0)
            assert slot.connections.closed_at is None
            assert rig.state(CHAT) is State.READY
        async with rig.conductor.slot(NEW):
            pass
        assert [call for call in rig.machine.calls if call[0] == "stop"] == []


async def test_who_changed_drains_and_starts_anew(autojump_clock: MockClock) -> None:
    """Who is served may finish; who waits meanwhile is served by a run of the new kind."""
    done, runs = trio.Event(), list[int]()

    async def use(name: ServiceId) -> None:
        async with rig.conductor.slot(name) as slot:
            runs.append(slot.run)

    async with conducting(services=(small(CHAT),)) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(hold, rig, CHAT, done)
        await trio.sleep(5.0)
        await replace(rig, small(CHAT, fingerprint="2"))
        nursery.start_soon(use, CHAT)
        await trio.sleep(5.0)
        assert (rig.state(CHAT), runs) == (State.DRAINING, [])
        done.set()
    assert runs == [2]
    assert rig.machine.lives[CHAT, RunId(2)].spec.fingerprint == "2"


async def test_who_is_taken_out_is_gone_without_a_trace(autojump_clock: MockClock) -> None:
    """Who waits is refused, and who comes later; nothing of it is left when its run is gone."""
    async with conducting({CHAT: Script(ready_s=60.0)}, services=(small(CHAT),)) as rig:

        async def be_refused() -> None:
            with pytest.raises(Refused, match="it was taken out of the configuration") as caught:
                await hold(rig, CHAT, trio.Event())
            assert caught.value.reason is Reason.REMOVED

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_refused)
            await trio.sleep(5.0)
            await replace(rig, small(NEW))
        with pytest.raises(Refused, match="chat was taken out of the configuration"):
            await rig.conductor.start(CHAT)
        await trio.sleep(5.0)
        await rig.conductor.stop(CHAT)
        assert [one.id for one in rig.conductor.view().services] == [NEW]
        assert rig.conductor.report(CHAT) is None
        assert await rig.conductor.facts(CHAT) is None, "the gauges may still ask for it"


async def test_a_service_may_go_to_a_runtime_that_nobody_used_before(
    autojump_clock: MockClock,
) -> None:
    """The old run ends where it runs, the fresh one starts in the other; leftovers go first."""
    other = FakeMachine()
    async with conducting(services=(small(CHAT),)) as rig:
        await rig.conductor.start(CHAT)
        moved = small(CHAT, fingerprint="2", runtime="external")
        await replace(rig, moved, external=FakeRuntime(other))
        with trio.move_on_after(5.0):
            await rig.conductor.start(CHAT)
        assert [call[:2] for call in rig.machine.calls][-2:] == [("stop", CHAT), ("forget", CHAT)]
        assert other.calls == [("start", CHAT, 2)]
        assert rig.conductor.runtimes()["external"].ok


async def test_who_is_new_on_a_lost_runtime_is_refused_at_once(autojump_clock: MockClock) -> None:
    """What was lost before is told of services that came later."""
    engine = FakeMachine()
    engine.lose()
    docker = small(CODER, runtime="docker")
    async with conducting(services=(small(CHAT), docker), engine=engine) as rig:
        await trio.sleep(1.0)
        await replace(rig, small(CHAT), docker, small(NEW, runtime="docker"))
        with pytest.raises(Refused) as caught:
            await rig.conductor.start(NEW)
        assert caught.value.reason is Reason.RUNTIME_LOST
