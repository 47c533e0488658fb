"""The data path alone, in a process of its own: `python -m benchmarks._path UPSTREAM_PORT`.

What a request costs besides (the core's decision, the line in the log) is left out: a place is had
at once and for nothing, and the end of a request is told to nobody.
"""

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType

import attrs
import trio

from proxycore import CoreConfig, RunId, ServiceId, ServiceSpec
from proxyserver.decisions import Decisions
from proxyserver.http import TcpPlace, UpstreamConnections, make_app, serve
from proxyserver.milestones import Milestones
from proxyserver.pulls import Pulls
from proxyserver.runtime import Endpoint
from proxyserver.telemetry import Telemetry
from tests.http.rig import (
    FakeConductor,
    FakeConfiguration,
    FakeGate,
    FakeGauges,
    Kind,
    Server,
    Settings,
    Slot,
)
from tests.rig.fake_images import FakeImages

MODEL = ServiceId("m")
BODY_MAX = 64 * 1024 * 1024
DRAIN_S = 1.0


@attrs.frozen
class _Place(AbstractAsyncContextManager[Slot]):
    slot: Slot

    async def __aenter__(self) -> Slot:
        return self.slot

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


@attrs.define(eq=False)
class _Admitting(FakeConductor):
    """Gives everybody a place at once."""

    place: _Place | None = None

    def slot(  # type: ignore[override]  # as the protocol says; the fake's own is narrower
        self,
        service: ServiceId,
        *,
        wait_s: float | None = None,
        request: str | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> AbstractAsyncContextManager[Slot]:
        assert self.place is not None
        return self.place


async def _serve(upstream: int) -> None:
    config = CoreConfig(devices=(), services=(ServiceSpec(MODEL),))
    connections = UpstreamConnections(Endpoint("127.0.0.1", upstream))
    conductor = _Admitting(config, place=_Place(Slot(RunId(1), connections)))
    settings = Settings(config, {MODEL: Kind(config.services[0])}, Server(BODY_MAX))
    async with trio.open_nursery() as nursery:
        app = make_app(
            conductor,
            settings,
            FakeGauges(),
            Decisions("cost_rate"),
            Pulls(FakeImages()),
            FakeGate(),
            Telemetry(
                conductor.view, FakeGauges(), lambda service: None, lambda run: Milestones(), "0"
            ),
            FakeConfiguration(),
            FakeConfiguration().profiles,
            on_request=None,
            schema=dict,
            nursery=nursery,
        )
        place = TcpPlace("127.0.0.1", 0)
        urls = await nursery.start(
            partial(serve, app, [place], stop=trio.Event(), drain_s=lambda: DRAIN_S)
        )
        print(*urls, flush=True)


if __name__ == "__main__":
    trio.run(_serve, int(sys.argv[1]))
