"""A load inside a server is followed, and what comes of it is told as it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from proxycore import Reason, ServiceId, ServiceSpec
from proxyserver._ask import NoAnswer
from proxyserver.refused import Refused
from proxyserver.runtime import Endpoint
from proxyserver.settings import Service
from proxyserver.templates import ModelState, ModelStatus

from .rig import CODER, Rig, conducting, service

MODEL = ServiceId("coder/x")
START_S = 5.0
"""So long a load may show no sign of life."""


@attrs.define
class FakeModels:
    """A server of one model, whose load takes four steps."""

    step_s: float = 4.0
    tells: bool = True
    """How far it is."""
    fault: str | None = None
    unheard: int = 0
    """So many orders are not answered."""
    holds: str | None = None
    """The name of what is loaded."""
    asked: list[str] = attrs.field(factory=list)
    models_max: int | None = None
    look: Callable[[], None] = lambda: None
    """Called whenever it has told how far it is."""

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        await trio.lowlevel.checkpoint()
        if self.holds == model:
            return ModelStatus(ModelState.LOADED)
        other = "" if self.holds is None else f": {self.holds!r} is loaded instead"
        return ModelStatus(ModelState.UNLOADED, other)

    async def load(
        self, endpoint: Endpoint, model: str, told: Callable[[float], None]
    ) -> str | None:
        self.asked.append(model)
        if len(self.asked) <= self.unheard:
            raise NoAnswer("it hung up")
        for step in range(4):
            await trio.sleep(self.step_s)
            if self.tells:
                told((step + 1) / 4)
                self.look()
        if self.fault is None and self.holds is None:
            self.holds = model
        return self.fault

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        await trio.lowlevel.checkpoint()
        self.holds = None


@asynccontextmanager
async def loading(models: FakeModels) -> AsyncIterator[Rig]:
    host = attrs.evolve(service(CODER), models=models)
    spec = ServiceSpec(MODEL, host=CODER, start_s=START_S, idle_s=None)
    model: Service = attrs.evolve(host, spec=spec, model="x")
    async with conducting(services=(host, model)) as rig:
        yield rig


async def refusal(rig: Rig) -> Refused:
    with pytest.raises(Refused) as caught:
        async with rig.conductor.slot(MODEL):
            pass
    return caught.value


async def test_a_load_that_goes_on_is_waited_for(autojump_clock: MockClock) -> None:
    """Longer than a silent one, and how far it is can be seen until it is over."""
    models, seen = FakeModels(), list[float | None]()
    async with loading(models) as rig:
        models.look = lambda: seen.append(rig.conductor.progress(MODEL))
        async with rig.conductor.slot(MODEL):
            assert rig.conductor.progress(MODEL) is None
    assert seen == [0.25, 0.5, 0.75, 1.0]


async def test_a_load_of_which_the_log_tells_is_waited_for(autojump_clock: MockClock) -> None:
    """Though nobody says how far it is."""
    async with loading(FakeModels(tells=False)) as rig, trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                await trio.sleep(3.0)
                rig.machine.say(CODER, "loading tensors")

        nursery.start_soon(talk)
        async with rig.conductor.slot(MODEL):
            pass
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("models", [FakeModels(tells=False), FakeModels(step_s=6.0)])
async def test_a_load_that_shows_no_life_is_given_up(
    autojump_clock: MockClock, models: FakeModels
) -> None:
    """Silent, or too slow from one sign to the next."""
    async with loading(models) as rig:
        assert (await refusal(rig)).reason is Reason.START_TIMEOUT


async def test_a_failure_is_told_as_the_server_tells_it(autojump_clock: MockClock) -> None:
    """With where more of it is told."""
    async with loading(FakeModels(fault="no such layer")) as rig:
        told = await refusal(rig)
    assert told.reason is Reason.SERVICE_FAILED
    assert told.message == "'x' could not be loaded: no such layer; the log of coder tells more"


async def test_an_order_that_is_not_answered_is_given_again(autojump_clock: MockClock) -> None:
    """It may have been heard, or not."""
    models = FakeModels(unheard=2)
    async with loading(models) as rig, rig.conductor.slot(MODEL):
        assert models.asked == ["x", "x", "x"]


async def test_nothing_is_sent_to_another_model(autojump_clock: MockClock) -> None:
    """A load that claims to be done, while another model is loaded, has failed."""
    async with loading(FakeModels(holds="y")) as rig:
        told = await refusal(rig)
    assert "'x' could not be loaded: 'y' is loaded instead" in told.message
