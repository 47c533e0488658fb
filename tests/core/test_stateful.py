"""A World whose happenings Hypothesis chooses: it shrinks what breaks a promise to few steps."""

from collections.abc import Callable

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from proxycore import (
    RAM,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Placement,
    ServiceId,
    ServiceSpec,
    Unit,
)
from proxycore.sim import Client, Run, Stage, World

from .shapes import CHAT, CODER, EMBED, GPU0, GPU1

NAMES = (CHAT, CODER, EMBED, ServiceId("rerank"), ServiceId("vision"))
ROUTER = ServiceId("router")
MODELS = tuple(ServiceId(f"{ROUTER}/{name}") for name in ("small", "large", "huge"))
ONE_MODEL = DeviceId("router:models")
DEVICES = st.sampled_from([GPU0, GPU1, RAM])
WAITS_S = st.sampled_from([0.0, 1.0, 20.0, 600.0])

amounts = st.sampled_from([0, 0, 3, 7, 8, 13, 15, 40])
placements = st.tuples(amounts, amounts, amounts).map(
    lambda bytes_on: Placement.of(zip((GPU0, GPU1, RAM), bytes_on, strict=True))
)


@st.composite
def configs(draw: st.DrawFn) -> CoreConfig:
    """Draw a machine of two GPUs and main memory, services of all shapes, a server with models."""
    sizes = draw(st.sampled_from([(16, 10, 20), (16, 10, 20), (8, 10, 20), (16, 16, 40)]))
    devices = (
        *map(DeviceSpec, (GPU0, GPU1, RAM), sizes, (1, 2, 0)),
        DeviceSpec(ONE_MODEL, 1, 0, unit=Unit.MODELS),
    )
    services = [
        draw(specs(name, can_sleep=True)) for name in NAMES[: draw(st.integers(1, len(NAMES)))]
    ]
    if draw(st.booleans()):
        del services[2:]
        services.append(draw(specs(ROUTER)))
        slot = draw(st.sampled_from([0, 0, 1]))
        services += [
            draw(specs(name, host=ROUTER, slot=slot))
            for name in MODELS[: draw(st.integers(1, len(MODELS)))]
        ]
    return CoreConfig(devices, tuple(services))


@st.composite
def specs(
    draw: st.DrawFn,
    service: ServiceId,
    *,
    can_sleep: bool = False,
    host: ServiceId | None = None,
    slot: int = 0,
) -> ServiceSpec:
    """Draw a service; of a model also its host, and how many of those at once it is."""
    places = tuple(
        Placement.of([*one.amounts, (ONE_MODEL, slot)])
        for one in draw(st.lists(placements, min_size=1, max_size=3))
    )
    residue = draw(st.none() | placements) if can_sleep else None
    return ServiceSpec(
        service,
        places,
        asleep=() if residue is None else tuple(residue.within(one) for one in places),
        host=host,
        load_s=draw(st.sampled_from([1.0, 60.0])),
        concurrent_max=draw(st.sampled_from([None, 1, 2])),
        queue_max=draw(st.sampled_from([1, 2, 256])),
        priority=draw(st.sampled_from([0, 0, 1])),
        pinned=draw(st.sampled_from([False, False, False, True])),
        idle_s=draw(st.sampled_from([None, 5.0, 50.0])),
        start_s=20.0,
        start_max_s=45.0,
        drain_s=8.0,
        grace_s=3.0,
        fingerprint=draw(st.sampled_from(["", "", "other"])),
    )


def when(
    which: Callable[["Happenings"], object],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a rule apply only while there is something that it can happen to."""
    return precondition(lambda self: bool(which(self)))


class Happenings(RuleBasedStateMachine):
    """Each rule is one thing that may happen; the World checks every promise after each."""

    world: World

    @initialize(config=configs(), now=st.sampled_from([0.0, -7.25, 1e6 + 0.1]))
    def begin(self, config: CoreConfig, now: float) -> None:
        self.world = World(config, now)

    def service(self, data: st.DataObject) -> ServiceId:
        return data.draw(st.sampled_from(self.world.config.services)).id

    def runs(self) -> list[Run]:
        return list(self.world.books.current.values())

    def starting(self) -> list[Run]:
        return [run for run in self.runs() if run.starting]

    def waking(self) -> list[Run]:
        return [run for run in self.runs() if run.waking]

    def falling_asleep(self) -> list[Run]:
        return [run for run in self.runs() if run.falls_asleep]

    def leaving(self) -> list[Run]:
        return [run for run in self.runs() if run.asked]

    def old(self) -> list[Run]:
        return [run for run in self.world.books.runs.values() if run.told_gone]

    def clients(self) -> list[Client]:
        return list(self.world.books.clients.values())

    def is_anybody_served(self) -> bool:
        return any(client.stage is not Stage.WAITING for client in self.clients())

    @rule(data=st.data(), wait_s=WAITS_S, times=st.integers(1, 3))
    def arrive(self, data: st.DataObject, wait_s: float, times: int) -> None:
        service = self.service(data)
        for _ in range(times):
            self.world.arrive(service, wait_s)

    @when(clients)
    @rule(data=st.data())
    def finish_or_leave(self, data: st.DataObject) -> None:
        self.world.finish(data.draw(st.sampled_from(self.clients())))

    @when(is_anybody_served)
    @rule()
    def finish_all(self) -> None:
        for client in self.clients():
            if client.stage is not Stage.WAITING:
                self.world.finish(client)

    @rule(data=st.data(), wait_s=WAITS_S, afresh=st.booleans())
    def start(self, data: st.DataObject, wait_s: float, afresh: bool) -> None:
        start = self.world.restart if afresh else self.world.start
        start(self.service(data), wait_s)

    @rule(data=st.data(), force=st.booleans())
    def stop(self, data: st.DataObject, force: bool) -> None:
        self.world.stop(self.service(data), force=force)

    @rule(data=st.data())
    def sleep(self, data: st.DataObject) -> None:
        able = [spec.id for spec in self.world.config.services if spec.asleep]
        if able:
            self.world.sleep(data.draw(st.sampled_from(able)))

    @when(falling_asleep)
    @rule(data=st.data(), tells=st.sampled_from([True, True, False]))
    def fall_asleep(self, data: st.DataObject, tells: bool) -> None:
        run = data.draw(st.sampled_from(self.falling_asleep()))
        self.world.doze(run)
        if tells:
            self.world.tell_slept(run)

    @when(waking)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        self.world.tell_woke(data.draw(st.sampled_from(self.waking())))

    @rule(within_s=st.sampled_from([0.0, 5.0]))
    def shut_down(self, within_s: float) -> None:
        self.world.shut_down(within_s)

    @when(starting)
    @rule(data=st.data())
    def be_ready(self, data: st.DataObject) -> None:
        self.world.be_ready(data.draw(st.sampled_from(self.starting())))

    @when(starting)
    @rule(data=st.data())
    def hang(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.starting()))
        self.world.hang(run)
        self.world.be_alive(run)

    @when(leaving)
    @rule(data=st.data(), hears=st.sampled_from([True, True, False]), late=st.booleans())
    def obey(self, data: st.DataObject, hears: bool, late: bool) -> None:
        run = data.draw(st.sampled_from(self.leaving()))
        if hears:
            self.world.die(run, late=late)
            self.world.tell_gone(run)
        else:
            self.world.be_deaf(run)

    @when(runs)
    @rule(data=st.data(), heals=st.booleans(), full=st.booleans(), tells=st.booleans())
    def die(self, data: st.DataObject, heals: bool, full: bool, tells: bool) -> None:
        run = data.draw(st.sampled_from(self.runs()))
        self.world.die(run)
        if tells:
            self.world.tell_gone(run, heals=heals, out_of_memory=full)

    @when(runs)
    @rule(data=st.data())
    def be_stuck(self, data: st.DataObject) -> None:
        self.world.be_stuck(data.draw(st.sampled_from(self.runs())))

    @when(old)
    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        world = self.world
        ways = [world.be_alive, world.be_ready, world.tell_slept, world.tell_woke]
        ways += [world.be_stuck, world.tell_gone]
        data.draw(st.sampled_from(ways))(data.draw(st.sampled_from(self.old())))

    @when(runs)
    @rule(data=st.data(), device=DEVICES, part=st.sampled_from([0.0, 0.5, 1.0, 1.5]))
    def use(self, data: st.DataObject, device: DeviceId, part: float) -> None:
        run = data.draw(st.sampled_from(self.runs()))
        self.world.use(run, device, int((run.placement.on(device) or 2) * part))

    @rule(device=DEVICES, amount=st.sampled_from([0, 2, 9, 30]))
    def intrude(self, device: DeviceId, amount: int) -> None:
        self.world.intrude(device, amount)

    @rule(devices=st.sets(DEVICES, min_size=1), complete=st.sampled_from([True, True, False]))
    def measure(self, devices: set[DeviceId], complete: bool) -> None:
        for device in sorted(devices):
            self.world.measure(device, complete=complete)

    @rule(device=DEVICES)
    def be_blind(self, device: DeviceId) -> None:
        self.world.be_blind(device)

    @rule()
    def give_back(self) -> None:
        self.world.give_back()

    @rule(data=st.data())
    def lose_a_runtime(self, data: st.DataObject) -> None:
        self.world.lose((self.service(data),))

    @rule()
    def find_the_runtimes(self) -> None:
        self.world.find(tuple(self.world.books.lost))

    @rule(remembers=st.booleans())
    def kill_the_core(self, remembers: bool) -> None:
        self.world.kill_core(remembers=remembers)

    @rule(config=configs(), data=st.data())
    def replace_the_configuration(self, config: CoreConfig, data: st.DataObject) -> None:
        before = {spec.id: spec for spec in self.world.config.services}
        same = data.draw(st.sets(st.sampled_from((*NAMES, ROUTER, *MODELS))))
        services = tuple(
            before[spec.id] if spec.id in same and spec.id in before else spec
            for spec in config.services
        )
        self.world.replace(attrs.evolve(config, services=services))

    @rule()
    def tell_the_configuration_again(self) -> None:
        self.world.replace(self.world.config)

    @rule(seconds=st.sampled_from([0.1, 4.0, 25.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([4.0, 60.0]))
    def oversleep(self, seconds: float) -> None:
        self.world.oversleep(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.be_kind()
            self.world.check_replay()


Happenings.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestHappenings = pytest.mark.slow(Happenings.TestCase)
