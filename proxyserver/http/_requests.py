"""The requests in flight: what can be seen of them, and how one is cancelled by hand."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxycore import ServiceId

from ._exchange import Exchange
from ._ports import Conductor
from ._waiting import estimate_s
from .errors import ApiError, again

Phase: TypeAlias = Literal["reading", "waiting", "uploading", "thinking", "streaming"]
"""Its body is read to find who is meant; it waits for a place; its body goes to the service; the
service has all of it, and says nothing yet; its answer comes."""


class Requests:
    """Those in flight, in order of arrival."""

    def __init__(self) -> None:
        self.live: dict[Exchange, None] = {}

    def named(self, id: str) -> Iterator[Exchange]:
        """Yield those with this id; a client may have given it to several."""
        return (exchange for exchange in self.live if exchange.request_id == id)

    def cancel(self, id: str) -> int:
        """End those with this id at once; return how many there were.

        Their clients get an error, or a broken answer, and services see their connection close.
        """
        found = [*self.named(id)]
        for exchange in found:
            exchange.cancel()
        return len(found)


class RequestApi:
    """Answers what is about requests in flight."""

    def __init__(self, requests: Requests, conductor: Conductor) -> None:
        self._requests = requests
        self._conductor = conductor

    async def list(self, request: Request) -> Response:
        """Tell of all but the one that asks."""
        asking = request.scope["exchange"]
        now = trio.current_time()
        lines = self._lines(now)
        found = [
            {**_told(one, now), **lines.get(one, _NOT_WAITING)}
            for one in self._requests.live
            if one is not asking
        ]
        return JSONResponse({"requests": found})

    def _lines(self, now: float) -> dict[Exchange, dict[str, Any]]:
        """Return of all who wait for a place how many are before them, and for how long."""
        waiting = [one for one in self._requests.live if phase_of(one) == "waiting"]
        waiting.sort(key=lambda one: one.asked_at or now)
        views = {view.id: view for view in self._conductor.view().services} if waiting else {}
        places: Counter[ServiceId] = Counter()
        lines = {}
        for one in waiting:
            assert one.service is not None, "it waits for one"
            places[one.service] += 1
            view = views.get(one.service)
            left_s = None if view is None else estimate_s(view, now)
            lines[one] = {"position": places[one.service], "estimate_s": left_s}
        return lines

    async def cancel(self, request: Request) -> Response:
        name = request.path_params["id"]
        count = self._requests.cancel(name)
        if not count:
            raise ApiError(404, "request_not_found", f"no request {name[:128]!r} is in flight")
        return JSONResponse({"id": name, "cancelled": count})


def phase_of(exchange: Exchange) -> Phase:
    """Return how far a request has come."""
    if exchange.status is not None and not (exchange.told and exchange.answer is None):
        return "streaming"
    if exchange.run is None:
        return "reading" if exchange.service is None else "waiting"
    return "thinking" if exchange.body_read else "uploading"


_NOT_WAITING = {"position": None, "estimate_s": None}


def _told(exchange: Exchange, now: float) -> dict[str, Any]:
    return {
        "id": exchange.request_id,
        "method": exchange.head.method.decode("latin-1"),
        "path": exchange.head.target.partition(b"?")[0].decode("latin-1"),
        "service": exchange.service,
        "model": exchange.model,
        "run": exchange.run,
        "key": None if exchange.key is None else exchange.key.name,
        "state": phase_of(exchange),
        "for_s": now - exchange.arrived_at,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
    }


def cancelled() -> ApiError:
    """Return what the client of a request gets that was cancelled by hand."""
    message = "somebody cancelled the request by hand"
    return ApiError(503, "request_cancelled", message, headers=again(None))
