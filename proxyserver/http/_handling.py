"""What every request goes through, whichever lane it came by: checked, answered, accounted for."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
from starlette.exceptions import HTTPException

from proxyserver.refused import Refused
from proxyserver.surfaces import surface_of
from proxyserver.wire import RequestHead

from ._access import Access, allow, is_preflight
from ._exchange import LINGER_S, ClientGone, Exchange, Outcome, RequestRecord
from ._requests import Requests, cancelled
from ._trace import Trace
from .errors import ApiError, again, refused
from .inference import Inference
from .upstream import Patience

SWEEP_S = 1.0
"""How often it is looked at who has waited too long."""

TELL_S = LINGER_S + 1.0
"""How long a client is told that its request was cancelled."""

Other: TypeAlias = Callable[[], Awaitable[None]]
_SERVICE = b"/service/"


class Handling:
    """Takes requests; `access` says who may ask, `inference` answers those for services."""

    def __init__(
        self,
        access: Access,
        inference: Inference,
        requests: Requests,
        patience: Callable[[], Patience],
        on_request: Callable[[RequestRecord], None] | None,
        begin_trace: Callable[[RequestHead], Trace] | None = None,
    ) -> None:
        self._access = access
        self.inference = inference
        self._patience = patience
        self._on_request = on_request
        self._begin_trace = begin_trace
        self._live = requests.live

    async def handle(self, exchange: Exchange, other: Other | None = None) -> None:
        """Answer a request, whatever happens.

        Args:
            exchange: the request.
            other: answers what is not for a service.
        """
        outcome, error = None, None
        self._live[exchange] = None
        if self._begin_trace is not None:
            exchange.trace = self._begin_trace(exchange.head)
        try:
            outcome, error = await self._answer(exchange, other)
        finally:
            if outcome is None and exchange.cancelled:
                outcome, error = await self._tell_cancelled(exchange)
            del self._live[exchange]
            if exchange.allowance is not None:
                exchange.allowance.give_back()
            if outcome is None:
                # Cancelled: the server does that when the client has left, and at its own end.
                outcome = Outcome.CLIENT_GONE if exchange.gone else Outcome.CUT
            if exchange.finished and outcome in (Outcome.CLIENT_GONE, Outcome.CUT):
                outcome = Outcome.ANSWERED
            if self._on_request is not None:
                self._on_request(exchange.record(outcome, error))

    async def sweep(self) -> None:
        """End for ever what takes too long; coarse, so that it costs a request nothing."""
        while True:
            await trio.sleep(SWEEP_S)
            now, patience = trio.current_time(), self._patience()
            for exchange in self._live:
                if exchange.upstream is not None:
                    limits = patience.with_rules(exchange.rules)
                    exchange.upstream.sweep(now, exchange.arrived_at, limits)

    async def _answer(
        self, exchange: Exchange, other: Other | None
    ) -> tuple[Outcome, BaseException | None]:
        try:
            await self._dispatch(exchange, other)
            return Outcome.ANSWERED, None
        except ClientGone:
            return Outcome.CLIENT_GONE, None
        except Refused as no:
            error = refused(no.reason, no.message, no.retry_after_s)
        except HTTPException as wrong:  # Starlette's 404 and 405.
            error = _not_here(exchange.head.method, wrong)
        except ApiError as wrong:
            error = wrong
        except Exception as bug:
            error = ApiError(
                500,
                "internal_error",
                f"a bug of the proxy; its log has more under request id {exchange.request_id}",
            )
            return await self._fail(exchange, error, Outcome.BUG, bug)
        rejected = exchange.status is None or (exchange.told and exchange.answer is None)
        outcome = Outcome.REJECTED if rejected else Outcome.BROKEN
        return await self._fail(exchange, error, outcome, error)

    async def _tell_cancelled(self, exchange: Exchange) -> tuple[Outcome, BaseException | None]:
        """Say so, to a client that may not listen."""
        with trio.move_on_after(TELL_S) as scope:
            scope.shield = True
            return await self._fail(exchange, cancelled(), Outcome.CANCELLED, None)
        return Outcome.CANCELLED, None

    async def _fail(
        self, exchange: Exchange, error: ApiError, outcome: Outcome, why: BaseException | None
    ) -> tuple[Outcome, BaseException | None]:
        try:
            await exchange.fail(error)
        except ClientGone:
            return Outcome.CLIENT_GONE, why
        return outcome, why

    async def _dispatch(self, exchange: Exchange, other: Other | None) -> None:
        head = exchange.head
        target = origin_form(head.target)
        self._access.check_page(exchange)
        if is_preflight(exchange):
            await allow(exchange)
            return
        _check_plain(exchange)
        path, mark, query = target.partition(b"?")
        if is_for_service(target):
            self._access.admit(exchange)
            _, _, service, rest, *_ = (*path.split(b"/", 3), b"")
            await self.inference.by_service(exchange, service, b"/" + rest + mark + query)
        elif (surface := surface_of(path)) is not None:
            if not surface.takes(head.method):
                raise HTTPException(405, headers={"Allow": surface.allow})
            self._access.admit(exchange)
            await self.inference.by_model(exchange, target, surface)
        else:
            assert other is not None, "the fast lane takes what is for services"
            await other()


def is_for_service(target: bytes) -> bool:
    """Tell whether a target is below `/service/{id}`."""
    return target.startswith(_SERVICE) and target[9:10] not in (b"", b"/", b"?")


def origin_form(target: bytes) -> bytes:
    """Return the path of a target that may be a whole URL (RFC 9112, 3.2.2: all servers must)."""
    if target[:1] == b"/":
        return target
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        return b"/" + rest.partition(b"/")[2]
    return target


def _check_plain(exchange: Exchange) -> None:
    """Refuse what we cannot make of the connection.

    Raises:
        ApiError: 501, a WebSocket by a way that has none.
    """
    if not exchange.can_splice and exchange.head.wants_websocket:
        raise ApiError(
            501,
            "websocket_unsupported",
            "a WebSocket needs HTTP/1.1 to /service/{id}/...",
            headers=(("connection", "close"), *again(None)),
        )


def _not_here(method: bytes, wrong: HTTPException) -> ApiError:
    headers = tuple((wrong.headers or {}).items())
    if wrong.status_code == 405:
        return ApiError(
            405,
            "method_not_allowed",
            f"{method.decode('latin-1')} is not allowed here; see Allow, or /openapi.json",
            headers=headers,
        )
    return ApiError(404, "not_found", "there is no such path; /docs lists all that there are")
