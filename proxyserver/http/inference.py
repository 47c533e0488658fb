"""The paths that lead to services: by id under `/service/`, by model under `/v1/`."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote_to_bytes

import h11
import trio

from proxycore import Route, Router, ServiceId, Unknown
from proxyserver.runtime import ExitReport

from ._exchange import Exchange, client_address
from ._headers import Header, Hop, framing, to_upstream, values
from ._ports import Conductor, Settings
from .errors import ApiError, admin_closed, unknown, upstream_failed
from .forward import forward
from .upstream import UpstreamConnections, UpstreamFault

BY_MODEL = (b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings")
HELD_BODIES = 4
"""Bodies of the largest size that are held at once, over all requests: then 503."""
BODY_GAP_S = 60.0
"""How long a client may pause within a body that is held; nginx waits as long."""
EXIT_S = 0.25
"""How long we wait to hear why a run ended whose connection broke: the exit comes a bit later."""


class Inference:
    """Finds out which service is meant, waits for a place, and forwards."""

    def __init__(self, conductor: Conductor, settings: Settings) -> None:
        self.router = Router.of(settings.core)
        self._own_names = {
            spec.id: spec.id.removeprefix(f"{spec.host}/")
            for spec in settings.core.services
            if spec.host is not None
        }
        self._conductor = conductor
        self._services = settings.services
        self._body_max = settings.server.body_max
        self._held = 0

    def route(self, what: str, name: str) -> Route:
        """Return who has this name.

        Raises:
            ApiError: 404, nobody.
        """
        resolved = self.router.resolve(name)
        if isinstance(resolved, Unknown):
            raise unknown(what, name, resolved.near)
        return resolved

    async def by_service(self, exchange: Exchange, id: bytes, path: bytes) -> None:
        """Answer `/service/{id}/{path}`; both as the client wrote them."""
        route = self.route("service", unquote_to_bytes(id).decode("utf-8", "replace"))
        self._check_open(exchange, route.service, path)
        prefix = b"/service/" + id
        await self._serve(exchange, route, path, prefix, framing(exchange.headers), None)

    def _check_open(self, exchange: Exchange, service: ServiceId, path: bytes) -> None:
        """Refuse what administers a service: the proxy decides what it does, or people do.

        Raises:
            ApiError: 403, it is closed to clients.
        """
        query: bytes = exchange.scope["query_string"]
        target = path + b"?" + query if query else path
        closed = self._services[service].closed_by(exchange.method, target)
        if closed is not None:
            raise admin_closed(service, closed)

    async def by_model(self, exchange: Exchange, path: bytes) -> None:
        """Answer a call of OpenAI's API, by whoever has the model that its body names."""
        async with self._hold(exchange) as body:
            model = _model(body)
            route = self.route("model", model)
            own = self._own_names.get(route.service, model)
            if own != model:
                # A server knows its models by its own names alone.
                body = json.dumps({**json.loads(body), "model": own}).encode()
            frame = (b"Content-Length", b"%d" % len(body))
            await self._serve(exchange, route, path, b"", frame, body)

    @asynccontextmanager
    async def _hold(self, exchange: Exchange) -> AsyncIterator[bytes]:
        """Read the body and hold it as long as the block lasts."""
        lengths = values(exchange.headers, b"content-length")
        if lengths and int(lengths[0]) > self._body_max:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        try:
            while not exchange.body_read and not exchange.gone:
                with trio.move_on_after(BODY_GAP_S) as gap:
                    message = await exchange.receive()
                if gap.cancelled_caught:
                    raise ApiError(
                        408,
                        "request_timeout",
                        f"no more of the body came for {BODY_GAP_S:g} s; send it again",
                        headers=(("connection", "close"),),
                    )
                piece = message.get("body", b"")
                if size + len(piece) > self._body_max:
                    raise self._too_large()
                if self._held + len(piece) > HELD_BODIES * self._body_max:
                    raise ApiError(
                        503,
                        "server_busy",
                        "too many large bodies wait already; try again soon",
                        headers=(("retry-after", "1"),),
                    )
                self._held += len(piece)
                size += len(piece)
                pieces.append(piece)
            body = b"".join(pieces)
            pieces.clear()
            yield body
        finally:
            self._held -= size

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            "request_too_large",
            f"the body is larger than server.body_max, {self._body_max} bytes; send less,"
            " or to /service/{id}/..., where bodies have no limit",
        )

    async def _serve(
        self,
        exchange: Exchange,
        route: Route,
        path: bytes,
        prefix: bytes,
        frame: Header | None,
        held: bytes | None,
    ) -> None:
        exchange.service = route.service
        asked_at = trio.current_time()
        try:
            async with self._conductor.slot(route.service, request=exchange.request_id) as slot:
                exchange.waited_s = trio.current_time() - asked_at
                exchange.run = slot.run
                earlier = self._conductor.report(route.service)
                connections = slot.connections
                request = _request(exchange, connections, path, prefix, frame)
                try:
                    await forward(exchange, connections, request, held)
                except UpstreamFault as fault:
                    message = await self._why(route.service, earlier, str(fault))
                    raise upstream_failed(route.service, message) from fault
        finally:
            if exchange.run is None:
                exchange.waited_s = trio.current_time() - asked_at

    async def _why(self, service: ServiceId, earlier: ExitReport | None, fault: str) -> str:
        """Return the fault with the end of the run that explains it, where there is one."""
        with trio.move_on_after(EXIT_S):
            # It is asked for, because it comes seldom, and at most 25 times.
            while (report := self._conductor.report(service)) is earlier:  # noqa: ASYNC110
                await trio.sleep(EXIT_S / 25)
            if report is not None:
                return f"{fault}: {report.cause.message}"
        return fault


def _model(body: bytes) -> str:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise ApiError(400, "invalid_json", "the body must be a JSON object")
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(
            400,
            "missing_model",
            "the body needs `model`, the name of a model as text; GET /v1/models lists them",
            param="model",
        )
    return model


def _request(
    exchange: Exchange,
    connections: UpstreamConnections,
    path: bytes,
    prefix: bytes,
    frame: Header | None,
) -> h11.Request:
    query: bytes = exchange.scope["query_string"]
    hop = Hop(
        host=connections.authority,
        client=client_address(exchange.scope),
        scheme=exchange.scope["scheme"].encode(),
        prefix=prefix,
        request_id=exchange.request_id.encode(),
        authorization=connections.authorization,
    )
    path = connections.prefix + path
    return h11.Request(
        method=exchange.method,
        target=path + b"?" + query if query else path,
        headers=to_upstream(exchange.headers, hop, frame),
    )
