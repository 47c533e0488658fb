"""The application: how what answers requests is put together, and its face for hypercorn."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import trio
from starlette.types import Receive, Scope, Send

from proxyserver.decisions import Decisions
from proxyserver.wire import RequestHead

from ._access import Access
from ._asgi_exchange import AsgiExchange
from ._configuration import ConfigurationApi
from ._exchange import RequestRecord
from ._handling import Handling, origin_form
from ._ports import Conductor, Configuration, Gate, Gauges, Metrics, Profiles, Pulls, Settings
from ._profiles import ProfileApi
from ._pulls import PullApi
from ._requests import RequestApi, Requests
from ._trace import Trace
from .api import EXCHANGE, Api
from .inference import Inference
from .upstream import Patience


def make_app(
    conductor: Conductor,
    settings: Settings,
    gauges: Gauges,
    decisions: Decisions,
    pulls: Pulls,
    gate: Gate,
    metrics: Metrics,
    configuration: Configuration,
    profiles: Profiles,
    *,
    on_request: Callable[[RequestRecord], None] | None,
    schema: Callable[[], Mapping[str, Any]],
    nursery: trio.Nursery,
    patience: Callable[[], Patience] = Patience,
    begin_trace: Callable[[RequestHead], Trace] | None = None,
) -> "App":
    """Return the application.

    Args:
        conductor: Who knows the services.
        settings: Names, limits.
        gauges: Who knows the memory.
        decisions: Who knows why.
        pulls: Who fetches images.
        gate: Who waits for them.
        metrics: Who has all numbers.
        configuration: Who reads it again.
        profiles: Who switches between them.
        on_request: Told about each request when it is over; None: nobody is.
        patience: Tells how long services may take, as of now.
        schema: Makes the JSON Schema of the configuration, when somebody asks for it.
        begin_trace: Gives each request its place in a trace; None: there are no traces.
        nursery: Where actions run that nobody waits for (`?wait=false`).
    """
    access = Access(settings)
    requests = Requests()
    inference = Inference(conductor, settings)
    api = Api(
        conductor,
        settings,
        gauges,
        decisions,
        PullApi(pulls, gate),
        RequestApi(requests, conductor),
        metrics,
        access,
        ConfigurationApi(configuration),
        ProfileApi(profiles),
        inference,
        schema=schema,
        nursery=nursery,
        started_at=time.time(),
    )
    handling = Handling(access, inference, requests, patience, on_request, begin_trace)
    return App(handling, api)


class App:
    """The application; `handling` is for those who need no ASGI."""

    def __init__(self, handling: Handling, api: Api) -> None:
        self.handling = handling
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = AsgiExchange(scope, receive, send)

        async def other() -> None:
            plain = {
                **scope,
                EXCHANGE: exchange,
                "path": unquote(origin_form(scope["raw_path"]).decode("ascii")),
                # We keep the case of names for the upstream; Starlette wants them lower.
                "headers": [(name.lower(), value) for name, value in scope["headers"]],
            }
            await self._api(plain, exchange.receive, exchange.send)

        with exchange.scope:
            await self.handling.handle(exchange, other)
