"""The ASGI application: every request enters here, and is accounted for when it ends."""

import string
import time
import uuid
from collections.abc import Callable
from urllib.parse import unquote

import trio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from proxyserver.decisions import Decisions
from proxyserver.refused import Refused

from . import hosts
from ._connection import CLIENT_GONE
from ._exchange import Exchange, Outcome, RequestRecord
from ._headers import Headers, connection_options, framing, values
from ._ports import Conductor, Gate, Gauges, Pulls, Settings
from ._pulls import PullApi
from .api import Api
from .errors import ApiError, refused
from .forward import ClientGone
from .inference import BY_MODEL, Inference

REQUEST_ID_MAX = 128
_VISIBLE = frozenset((string.ascii_letters + string.digits + string.punctuation).encode())


def make_app(
    conductor: Conductor,
    settings: Settings,
    gauges: Gauges,
    decisions: Decisions,
    pulls: Pulls,
    gate: Gate,
    *,
    on_request: Callable[[RequestRecord], None],
    nursery: trio.Nursery,
) -> ASGIApp:
    """Return the application.

    Args:
        conductor: Who knows the services.
        settings: Names, limits.
        gauges: Who knows the memory.
        decisions: Who knows why.
        pulls: Who fetches images.
        gate: Who waits for them.
        on_request: Told about each request when it is over.
        nursery: Where actions run that nobody waits for (`?wait=false`).
    """
    inference = Inference(conductor, settings)
    api = Api(
        conductor,
        settings,
        gauges,
        decisions,
        PullApi(pulls, gate),
        inference,
        nursery=nursery,
        started_at=time.time(),
    )
    return _App(inference, api, on_request)


class _App:
    def __init__(
        self, inference: Inference, api: Api, on_request: Callable[[RequestRecord], None]
    ) -> None:
        self._inference = inference
        self._api = api
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, _request_id(scope["headers"]), receive, send)
        outcome, error = None, None
        try:
            outcome, error = await self._answer(exchange)
        finally:
            if outcome is None:
                # Cancelled: the server does that when the client has left, and at its own end.
                left = scope["state"][CLIENT_GONE].is_set()
                outcome = Outcome.CLIENT_GONE if left else Outcome.CUT
            if exchange.finished and outcome in (Outcome.CLIENT_GONE, Outcome.CUT):
                outcome = Outcome.ANSWERED
            self._on_request(exchange.record(outcome, error))

    async def _answer(self, exchange: Exchange) -> tuple[Outcome, BaseException | None]:
        """Answer the request, whatever happens."""
        try:
            await self._dispatch(exchange)
            return Outcome.ANSWERED, None
        except ClientGone:
            return Outcome.CLIENT_GONE, None
        except Refused as no:
            error = refused(no.reason, no.message, no.retry_after_s)
        except HTTPException as wrong:  # Starlette's 404 and 405.
            error = _not_here(exchange.method, wrong)
        except ApiError as wrong:
            error = wrong
        except Exception as bug:
            error = ApiError(
                500,
                "internal_error",
                f"a bug of the proxy; its log has more under request id {exchange.request_id}",
            )
            await exchange.fail(error)
            return Outcome.BUG, bug
        outcome = Outcome.REJECTED if exchange.status is None else Outcome.BROKEN
        await exchange.fail(error)
        return outcome, error

    async def _dispatch(self, exchange: Exchange) -> None:
        scope = exchange.scope
        path = _origin_form(scope["raw_path"])
        hosts.check(exchange.method, exchange.headers)
        framing(exchange.headers)
        _check_plain(exchange.method, exchange.headers)
        _, first, service, *rest = (*path.split(b"/", 3), b"", b"")
        if first == b"service" and service:
            await self._inference.by_service(exchange, service, b"/" + rest[0])
        elif path in BY_MODEL:
            if exchange.method != "POST":
                raise HTTPException(405, headers={"Allow": "POST"})
            await self._inference.by_model(exchange, path)
        else:
            plain = {
                **scope,
                "path": unquote(path.decode("ascii")),
                # We keep the case of names for the upstream; Starlette wants them lower.
                "headers": [(name.lower(), value) for name, value in scope["headers"]],
            }
            await self._api(plain, exchange.receive, exchange.send)


def _request_id(headers: Headers) -> str:
    """Return the client's own id if it is fit for a log and a header, else a new one."""
    for value in values(headers, b"x-request-id")[:1]:
        if 0 < len(value) <= REQUEST_ID_MAX and _VISIBLE.issuperset(value):
            return value.decode("ascii")
    return uuid.uuid4().hex


def _origin_form(target: bytes) -> bytes:
    """Return the path of a target that may be a whole URL (RFC 9112, 3.2.2: all servers must)."""
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        return b"/" + rest.partition(b"/")[2]
    return target


def _check_plain(method: str, headers: Headers) -> None:
    """Refuse what turns the connection into something else than requests and answers.

    Raises:
        ApiError: 400 for tunnels, 501 for WebSockets.
    """
    if method == "CONNECT":
        raise ApiError(400, "invalid_request", "there are no tunnels here; send plain requests")
    upgrades = [value.lower() for value in values(headers, b"upgrade")]
    if method == "GET" and b"websocket" in upgrades and b"upgrade" in connection_options(headers):
        raise ApiError(
            501,
            "websocket_unsupported",
            "WebSocket connections are not forwarded yet; use plain HTTP, or the service's own"
            " port",
            headers=(("connection", "close"),),
        )


def _not_here(method: str, wrong: HTTPException) -> ApiError:
    headers = tuple((wrong.headers or {}).items())
    if wrong.status_code == 405:
        return ApiError(
            405,
            "method_not_allowed",
            f"{method} is not allowed here; see Allow, or /openapi.json",
            headers=headers,
        )
    return ApiError(404, "not_found", "there is no such path; /openapi.json lists all")
