"""What the servers tell Prometheus of themselves, asked all at once and shown as one text."""

import math
from collections.abc import Mapping
from typing import Protocol

import trio
from starlette.requests import Request
from starlette.responses import Response

from proxycore import CoreView, ServiceId, State
from proxyserver._ask import NoAnswer

from ._relabel import MEDIA_TYPE, relabelled

WITHIN_S = 1.0
"""So long all servers have together."""
SAID_MAX = 512 * 1024
"""Who says more is not read: so much takes some 0.7 s, in a thread beside the requests."""
KEPT_S = 1.0
"""Who asks again sooner gets the same: nobody makes servers work by asking us."""


class HasMetrics(Protocol):
    """A service."""

    @property
    def metrics(self) -> str | None: ...


class Asked(Protocol):
    """Who asks the servers."""

    def view(self) -> CoreView:
        """Return who is ready."""

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        """Ask one, and use it no more than that.

        Raises:
            NoAnswer: it does not answer.
        """


class Known(Protocol):
    """Who knows where they are asked."""

    @property
    def services(self) -> Mapping[ServiceId, HasMetrics]: ...


class ServiceMetrics:
    """Shows the metrics of all services that run; it starts and wakes none, and uses none.

    They are apart from our own, which no server shall delay, nor spoil by what it says.
    """

    def __init__(self, conductor: Asked, settings: Known) -> None:
        self._conductor = conductor
        self._settings = settings
        self._turn = trio.Lock()
        self._text = b""
        self._until_at = -math.inf

    async def show(self, request: Request) -> Response:
        async with self._turn:
            if trio.current_time() >= self._until_at:
                told = await self._ask()
                self._text = await trio.to_thread.run_sync(relabelled, told)
                self._until_at = trio.current_time() + KEPT_S
            return Response(self._text, headers={"content-type": MEDIA_TYPE})

    async def _ask(self) -> dict[ServiceId, bytes | None]:
        known = self._settings.services
        told: dict[ServiceId, bytes | None] = {
            one.id: None
            for one in self._conductor.view().services
            if one.state in (State.READY, State.DRAINING)
            and one.id in known
            and known[one.id].metrics is not None
        }

        async def ask(service: ServiceId) -> None:
            try:
                status, said = await self._conductor.metrics(service, None)
            except NoAnswer:
                return
            if status == 200 and len(said) <= SAID_MAX:
                told[service] = said

        with trio.move_on_after(WITHIN_S):
            async with trio.open_nursery() as nursery:
                for service in told:
                    nursery.start_soon(ask, service)
        return told
