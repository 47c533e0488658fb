"""What becomes of those who want a service whose image is missing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import Cause, Reason, ServiceId, State
from proxyserver.image_gate import ImageGate
from proxyserver.pulls import AT_ONCE, KEPT, Pull, Pulls
from proxyserver.refused import Refused
from proxyserver.runtime import ContainerSpec, PullProgress, RuntimeFault
from proxyserver.settings import Service
from tests.conductor.rig import CHAT, CODER, Rig, conducting, service
from tests.rig.fake_images import FakeImages
from tests.rig.fake_runtime import FakeMachine, Script

IMAGE = "acme/llm:1"
GONE = Cause("image_unknown", "acme/llm:1: manifest unknown", heals=False)


def in_container(
    name: ServiceId, *, pull: Literal["never", "missing"] = "missing", **spec: Any
) -> Service:
    """Return a service with an image that both have."""
    one = service(name, **spec)
    launch = attrs.evolve(one.launch, what=ContainerSpec(IMAGE, 80))
    return attrs.evolve(one, launch=launch, runtime="docker", pull=pull)


@attrs.frozen
class World:
    rig: Rig
    images: FakeImages
    pulls: Pulls
    gate: ImageGate
    engine: FakeMachine

    @property
    def pull(self) -> Pull:
        return self.pulls.known[IMAGE]

    async def use(self, name: ServiceId, wait_s: float | None = None) -> None:
        async with self.rig.conductor.slot(name, wait_s=wait_s):
            pass

    async def refusal(self, name: ServiceId, wait_s: float | None = None) -> Refused:
        with pytest.raises(Refused) as caught:
            await self.use(name, wait_s)
        return caught.value


@asynccontextmanager
async def world(images: FakeImages, *services: Service) -> AsyncIterator[World]:
    services = services or (in_container(CHAT), in_container(CODER))
    engine = FakeMachine({CHAT: Script(ready_s=2.0), CODER: Script(ready_s=2.0)})
    async with trio.open_nursery() as nursery:
        pulls = Pulls(images)
        gate = ImageGate({one.spec.id: one for one in services}, pulls)
        await nursery.start(pulls.run)
        async with conducting(engine=engine, services=services, gate=gate) as rig:
            rig.judge.machine.lives = engine.lives
            yield World(rig, images, pulls, gate, engine)
        nursery.cancel_scope.cancel()


async def test_a_missing_image_is_fetched_before_anything_starts(
    autojump_clock: MockClock,
) -> None:
    """Meanwhile the service is down, holds nothing, and its start has not begun."""
    async with world(FakeImages()) as it, trio.open_nursery() as nursery:
        began_at = trio.current_time()
        nursery.start_soon(it.use, CHAT)
        await trio.sleep(5.5)
        assert it.rig.state(CHAT) is State.DOWN
        assert it.gate.waiting(CHAT) == 1
        assert it.pull.as_json() | {"started_at": 0} == {
            "image": IMAGE,
            "state": "pulling",
            "status": "Downloading",
            "done": 50 << 20,
            "total": 100 << 20,
            "percent": 50.0,
            "started_at": 0,
            "took_s": 5.5,
            "cause": None,
        }
        await it.use(CHAT)
        assert trio.current_time() - began_at == pytest.approx(12.0, abs=0.7)
    assert (it.images.asked, it.pull.state, it.gate.waiting(CHAT)) == ([IMAGE], "done", 0)


async def test_an_image_that_is_here_is_not_fetched(autojump_clock: MockClock) -> None:
    async with world(FakeImages(here={IMAGE})) as it:
        await it.use(CHAT)
    assert it.images.asked == []


async def test_what_runs_is_not_asked_for_its_image(autojump_clock: MockClock) -> None:
    """A name may have been given to another image meanwhile, or to none."""
    async with world(FakeImages(here={IMAGE})) as it:
        await it.use(CHAT)
        it.images.here.clear()
        await it.use(CHAT)
    assert it.images.asked == []


async def test_nobody_fetches_for_a_service_that_says_never(autojump_clock: MockClock) -> None:
    """Its start fails of that, as ever."""
    async with world(FakeImages(), in_container(CHAT, pull="never")) as it:
        missing = Cause("image_missing", "image is not here", heals=False)
        it.engine.scripts[CHAT] = Script(start_fault=missing)
        assert (await it.refusal(CHAT)).message.endswith("image is not here")
    assert it.images.asked == []


async def test_services_and_requests_share_one_pull(autojump_clock: MockClock) -> None:
    """And get their places in the order in which they came."""
    async with world(FakeImages(), in_container(CHAT, concurrent_max=1)) as it:
        order: list[int] = []

        async def use(number: int) -> None:
            async with it.rig.conductor.slot(CHAT):
                order.append(number)
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(use, number)
                await trio.sleep(0.5)
        assert order == list(range(8))
    async with world(FakeImages()) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.use, CHAT)
        nursery.start_soon(it.use, CODER)
    assert it.images.asked == [IMAGE]


async def test_who_has_waited_enough_is_told_how_far_it_is(autojump_clock: MockClock) -> None:
    """The pull goes on, so that the next try finds the image."""
    async with world(FakeImages()) as it:
        refused = await it.refusal(CHAT, wait_s=3.5)
        assert (refused.reason, refused.message, refused.retry_after_s) == (
            Reason.QUEUE_TIMEOUT,
            f"waited too long: {IMAGE} is still on its way (30 of 100 MiB)",
            30.0,
        )
        await trio.sleep(10.0)
        assert it.pull.state == "done"
        began_at = trio.current_time()
        await it.use(CHAT)
        assert trio.current_time() - began_at < 3.0
    assert it.images.asked == [IMAGE]


async def test_a_failed_pull_refuses_and_is_not_repeated_at_once(
    autojump_clock: MockClock,
) -> None:
    """With its cause; a start by hand tries again, and so does who comes later."""
    async with world(FakeImages(faults={IMAGE: GONE})) as it:
        first = await it.refusal(CHAT)
        second = await it.refusal(CHAT)
        for refused, again_s in ((first, 30.0), (second, 30.0)):
            assert (refused.reason, refused.message) == (
                Reason.SERVICE_FAILED,
                f"chat has no image: {GONE.message}",
            )
            assert refused.retry_after_s == pytest.approx(again_s, abs=0.1)
        assert it.images.asked == [IMAGE]
        with pytest.raises(Refused):
            await it.rig.conductor.start(CHAT)
        assert it.images.asked == [IMAGE] * 2
        await trio.sleep(30.1)
        del it.images.faults[IMAGE]
        await it.use(CHAT)
        assert (it.images.asked, it.pull.state) == ([IMAGE] * 3, "done")


async def test_a_start_by_hand_waits_for_as_long_as_the_pull_takes(
    autojump_clock: MockClock,
) -> None:
    """And only then begins to wait for the service."""
    short = attrs.evolve(in_container(CHAT), wait_s=3.0)
    async with world(FakeImages(), short) as it:
        assert await it.rig.conductor.start(CHAT) == 1


async def test_a_stop_by_hand_ends_the_wait_and_the_pull(autojump_clock: MockClock) -> None:
    """Unless another service needs the image too, or somebody follows the pull."""
    async with world(FakeImages()) as it:
        refusals: list[Refused] = []

        async def use(name: ServiceId) -> None:
            refusals.append(await it.refusal(name))

        async with trio.open_nursery() as nursery:
            for name in (CHAT, CHAT, CODER):
                nursery.start_soon(use, name)
            await trio.sleep(1.0)
            await it.rig.conductor.stop(CHAT)
            await trio.sleep(1.0)
            assert [one.reason for one in refusals] == [Reason.STOPPED] * 2
            assert it.pull.state == "pulling"
            await it.rig.conductor.stop(CODER)
        await trio.sleep(1.0)
        assert it.images.ended == 1
        assert it.pull.state == "cancelled"
        # Somebody else may want the image for itself.
        pull = it.pulls.begin(IMAGE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull.wait)
            nursery.start_soon(use, CHAT)
            await trio.sleep(1.0)
            await it.rig.conductor.stop(CHAT)
        assert pull.state == "done"
        it.images.here.clear()
        # A new wait is not stopped by the old stop.
        await trio.sleep(31.0)
        await it.use(CHAT)


async def test_who_cancels_a_pull_refuses_those_who_wait(autojump_clock: MockClock) -> None:
    async with world(FakeImages()) as it, trio.open_nursery() as nursery:
        refusals: list[Refused] = []

        async def use() -> None:
            refusals.append(await it.refusal(CHAT))

        nursery.start_soon(use)
        await trio.sleep(1.0)
        assert it.pulls.cancel(IMAGE)
        await trio.sleep(0.1)
        assert [one.reason for one in refusals] == [Reason.SERVICE_FAILED]
        assert "cancelled" in refusals[0].message
        assert not it.pulls.cancel(IMAGE)


async def test_only_so_many_may_wait(autojump_clock: MockClock) -> None:
    """As for the service itself."""
    few = in_container(CHAT, queue_max=2)
    async with world(FakeImages(), few) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.use, CHAT)
        nursery.start_soon(it.use, CHAT)
        await trio.sleep(1.0)
        refused = await it.refusal(CHAT)
        assert (refused.reason, refused.message) == (
            Reason.QUEUE_FULL,
            f"2 wait for {IMAGE} already",
        )
        assert it.pull.state == "pulling"


async def test_an_engine_out_of_reach_is_the_cores_business(autojump_clock: MockClock) -> None:
    """It is told as everywhere; no pull is begun."""
    async with world(FakeImages(lost="the engine went away")) as it:
        it.engine.lose()
        assert (await it.refusal(CHAT)).reason is Reason.RUNTIME_LOST
    assert it.images.asked == []


async def test_the_end_of_the_daemon_cancels_pulls(autojump_clock: MockClock) -> None:
    """Nobody waits for them then, and none begins any more."""
    async with world(FakeImages()) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.refusal, CHAT)
        await trio.sleep(1.0)
        it.pulls.close()
        await trio.sleep(0.1)
        assert it.pull.state == "cancelled"
        with pytest.raises(RuntimeFault, match="is stopping"):
            it.pulls.begin("other:1")


async def test_pulls_take_turns_and_are_bounded(autojump_clock: MockClock) -> None:
    """Few run at once, the others wait; of those that are over, the last are remembered."""
    images = FakeImages()
    async with trio.open_nursery() as nursery:
        pulls = Pulls(images)
        await nursery.start(pulls.run)
        for number in range(KEPT):
            pulls.begin(f"a:{number}")
        await trio.sleep(0.5)
        assert len(images.asked) == AT_ONCE
        waiting = PullProgress("waiting for other pulls", 0, 0)
        waits = [one for one in pulls.known.values() if one.progress == waiting]
        assert len(waits) == KEPT - AT_ONCE
        with pytest.raises(RuntimeFault, match="64 images are being fetched"):
            pulls.begin("b:1")
        await trio.sleep(11.0)
        ended = [one.image for one in pulls.known.values() if one.state == "done"]
        pulls.begin("b:1")
        assert len(pulls.known) == KEPT
        assert [image for image in ended if image in pulls.known] == ended[1:]
        nursery.cancel_scope.cancel()


async def test_who_follows_a_pull_sees_its_steps_and_its_end(autojump_clock: MockClock) -> None:
    """Who comes later sees the rest, who comes after the end sees that."""
    async with trio.open_nursery() as nursery:
        pulls = Pulls(FakeImages())
        await nursery.start(pulls.run)
        seen: dict[str, list[tuple[str, float | None]]] = {"early": [], "late": [], "after": []}

        async def follow(name: str) -> None:
            async for now in pulls.begin(IMAGE).steps():
                told = now.as_json()
                seen[name].append((told["state"], told["percent"]))

        nursery.start_soon(follow, "early")
        await trio.sleep(5.2)
        nursery.start_soon(follow, "late")
        await trio.sleep(10.0)
        ended = pulls.known[IMAGE]
        async for now in ended.steps():
            seen["after"].append((now.state, now.as_json()["percent"]))
        nursery.cancel_scope.cancel()
    tens = [("pulling", 10.0 * tenth) for tenth in range(10)]
    assert seen["early"][1:] == [*tens, ("done", 100.0)]
    assert seen["late"] == [*tens[5:], ("done", 100.0)]
    assert seen["after"] == [("done", 100.0)]
