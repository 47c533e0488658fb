"""Who lacks memory is told the figures, and what would help."""

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import (
    RAM,
    Cause,
    CoreConfig,
    DeviceSpec,
    Placement,
    Reason,
    Refuse,
    ServiceId,
    TicketId,
    Want,
)
from proxycore.config import GIB
from proxyserver.refused import Refused
from proxyserver.remedies import Remedies
from proxyserver.runtime import ContainerSpec
from proxyserver.settings import Service
from proxyserver.templates import Room
from tests.conductor.rig import CHAT, CODER, DEVICES, GPU, Rig, conducting, service
from tests.rig.fake_runtime import Script

FULL = "cudaMalloc failed: out of memory"
OUT_OF_MEMORY = Script(log=((0.0, FULL),), ready_s=60.0, exit_s=1.0)


async def refusal(rig: Rig, name: ServiceId, wait_s: float | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        async with rig.conductor.slot(name, wait_s=wait_s):
            pass
    return caught.value


def advised(name: ServiceId, rooms: list[Room], **spec: Any) -> Service:
    """Return a service whose template has advice, and writes down for which room."""

    def remedy(room: Room) -> str:
        rooms.append(room)
        return "take less"

    return attrs.evolve(service(name, **spec), remedy=remedy)


async def test_out_of_memory_at_load(autojump_clock: MockClock) -> None:
    """After the retry the answer, and so the log, has what was claimed and what could be had."""
    rooms: list[Room] = []
    pinned = service(CHAT, pinned=True)
    async with conducting({CODER: OUT_OF_MEMORY}, services=(pinned, advised(CODER, rooms))) as rig:
        said = (await refusal(rig, CODER)).message
        view = rig.conductor.view().service(CODER)
        assert view.cause is not None
        assert view.cause.message == view.why == said
        assert said.startswith(f"failed with exit code 1: {FULL}. The GPU was full.")
        # Once more, with 15 % more; and no more than the GPU has.
        assert said.endswith(
            "Coder claimed 18.4 GiB on gpu0, where 24.0 GiB are free at most. Take less"
        )
        assert [room.wanted_vram / GIB for room in rooms] == [16.0, pytest.approx(18.4)]
        assert {(room.vram, room.vram_total) for room in rooms} == {(24 * GIB, 24 * GIB)}


@pytest.mark.parametrize("found", [Cause("model_corrupt", "it is cut off", heals=False), None])
async def test_what_dies_without_a_word(autojump_clock: MockClock, found: Cause | None) -> None:
    """Its files are looked at: a server that ends in a hurry may lose the lines that tell why."""
    one = service(CODER)
    one = attrs.evolve(one, launch=attrs.evolve(one.launch, examine=lambda: found))
    async with conducting({CODER: Script(ready_s=60.0, exit_s=1.0)}, services=(one,)) as rig:
        said = (await refusal(rig, CODER)).message
        report = rig.conductor.report(CODER)
    assert said == (found.message if found else "failed with exit code 1 in silence")
    assert report is not None
    assert report.cause.message == said


async def test_what_tells_why_it_dies_is_believed(autojump_clock: MockClock) -> None:
    one = service(CODER)
    other = Cause("model_corrupt", "it is cut off", heals=False)
    one = attrs.evolve(one, launch=attrs.evolve(one.launch, examine=lambda: other))
    script = Script(log=((0.0, "error: invalid argument: -x"),), ready_s=60.0, exit_s=1.0)
    async with conducting({CODER: script}, services=(one,)) as rig:
        assert "invalid argument" in (await refusal(rig, CODER)).message


async def test_room_that_never_comes(autojump_clock: MockClock) -> None:
    """Who waits in vain for what is pinned, or held by strangers, learns what could be had."""
    rooms: list[Room] = []
    async with conducting(services=(service(CHAT, pinned=True), advised(CODER, rooms))) as rig:
        async with rig.conductor.slot(CHAT):
            pass
        refused = await refusal(rig, CODER, wait_s=50.0)
    assert refused.reason is Reason.QUEUE_TIMEOUT
    assert refused.message == (
        "waited too long for coder: no room: 6.0 GiB more needed on gpu0. Coder needs 16.0 GiB on"
        " gpu0, where 10.0 GiB are free at most. Take less"
    )
    assert rooms == [Room(10 * GIB, 1 << 60, 24 * GIB)]


async def test_room_that_may_come(autojump_clock: MockClock) -> None:
    """Who waited for somebody who served is not told to need less."""
    rooms: list[Room] = []
    async with (
        conducting(services=(service(CHAT), advised(CODER, rooms))) as rig,
        rig.conductor.slot(CHAT),
    ):
        refused = await refusal(rig, CODER, wait_s=5.0)
    assert refused.message.endswith("6.0 GiB more needed on gpu0")
    assert rooms == []


async def test_what_can_never_fit(autojump_clock: MockClock) -> None:
    """A model that fits only without its server is refused with both."""
    rooms: list[Room] = []
    inside = advised(CODER, rooms, host=CHAT)
    async with conducting(services=(service(CHAT), inside)) as rig:
        await trio.lowlevel.checkpoint()
        refused = await refusal(rig, CODER)
    assert refused.reason is Reason.NEVER_FITS
    assert refused.message == (
        "coder claims more than there is: 6.0 GiB more needed on gpu0. Coder, with chat, in which"
        " it lives, needs 30.0 GiB on gpu0, where 24.0 GiB are free at most. Take less"
    )


RAM_DEVICES = (*DEVICES, DeviceSpec(RAM, 8 * GIB, headroom=0))
KILLED = Cause("ram_oom", "the kernel killed it.")


@attrs.frozen
class FakeFigures:
    most: Want
    config: CoreConfig = attrs.field(factory=lambda: CoreConfig(RAM_DEVICES))

    def at_most(self, service: ServiceId) -> Want:
        return self.most


def remedies(one: Service, claimed: Placement, free: int) -> Remedies:
    most = Want(claimed, tuple((device, free) for device in claimed.devices), (), 0.0)
    return Remedies({one.spec.id: one}, lambda: FakeFigures(most))


def test_a_memory_limit_is_the_room() -> None:
    """Whatever the machine has, a container has no more than its limit."""
    rooms: list[Room] = []
    one = advised(CODER, rooms)
    what = ContainerSpec(image="x", port=1, memory_limit=GIB)
    one = attrs.evolve(one, launch=attrs.evolve(one.launch, what=what))
    told = remedies(one, Placement.of([(RAM, 2 * GIB)]), 6 * GIB).of_failure(CODER, KILLED)
    assert told.message == (
        "the kernel killed it. Coder claimed 2.0 GiB on ram, where 6.0 GiB are free at most. Take"
        " less"
    )
    assert rooms == [Room(0, GIB)]


def test_main_memory_that_was_full() -> None:
    """Without a GPU it was main memory that was too little."""
    rooms: list[Room] = []
    cause = Cause("alloc", "no buffer", out_of_memory=True)
    one = advised(CODER, rooms)
    remedies(one, Placement.of([(RAM, 2 * GIB)]), 6 * GIB).of_failure(CODER, cause)
    assert rooms == [Room(0, 6 * GIB, wanted_ram=2 * GIB)]


def test_who_claims_nothing_is_told_to() -> None:
    cause = Cause("gpu_oom", "the GPU was full.", out_of_memory=True)
    told = remedies(service(CODER), Placement(), 0).of_failure(CODER, cause)
    assert told.message == (
        "the GPU was full. It claims no memory, so none was made free for it: declare `memory`"
    )


def test_other_causes_and_refusals_stay_as_they_are() -> None:
    ours = remedies(service(CODER), Placement.of([(GPU, GIB)]), 0)
    cause = Cause("exit", "it ended")
    assert ours.of_failure(CODER, cause) is cause
    refuse = Refuse(TicketId(1), CODER, Reason.QUEUE_FULL, "as many as may")
    assert ours.with_words(refuse) is refuse
