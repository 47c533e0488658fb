"""What leads to services: by id under `/service/`, by model on the paths of each API."""

from urllib.parse import unquote_to_bytes

import trio

from proxycore import Route, Router, ServiceId, Unknown
from proxyserver.access import Key
from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.runtime import ExitReport
from proxyserver.surfaces import Shape, Surface, model_parameter
from proxyserver.wire import (
    BadBody,
    FormModel,
    Hop,
    JsonModel,
    boundary_of,
    missing_model,
    model_in,
    to_upstream,
    without_subprotocols,
)

from ._access import SUBPROTOCOL
from ._exchange import Exchange, bad_body
from ._held import Bodies, Held
from ._peer import Kept
from ._ports import Conductor, Settings
from ._rewriting import check_size, rewrite
from ._translation import ADDED, translate
from ._waiting import Waiting
from .errors import ApiError, admin_closed, unknown, upstream_failed
from .forward import AT_ONCE_MAX, Outgoing, forward
from .upstream import UpstreamConnections, UpstreamFault

REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods that may be sent twice (RFC 9110, 9.2.1)."""
HELD_WHOLE = 1024 * 1024
"""A body up to this size is held until it is whole, so that it can be checked, and sent again."""
READ_WHOLE = 256 * 1024
"""A body up to this size is read as JSON, which is faster than to scan it."""
EXIT_S = 0.25
"""How long we wait to hear why a run ended whose connection broke: the exit comes a bit later."""


class Inference:
    """Finds out which service is meant, waits for a place, and forwards."""

    def __init__(self, conductor: Conductor, settings: Settings) -> None:
        self._settings = settings
        self._routed = settings.core
        self._router = Router.of(settings.core)
        self._conductor = conductor
        self._waiting = Waiting(conductor, settings)
        self._services = settings.services
        self.bodies = Bodies(settings)

    @property
    def router(self) -> Router:
        """All names of the configuration in force."""
        if self._routed is not self._settings.core:
            self._routed = self._settings.core
            self._router = Router.of(self._routed)
        return self._router

    def route(self, what: str, name: str, key: Key | None = None) -> Route:
        """Return who has this name; what is not for a key is not there, as for whom it guesses.

        Raises:
            ApiError: 404, nobody.
        """
        resolved = self.router.resolve(name)
        if isinstance(resolved, Unknown):
            near = resolved.near
        elif key is None or key.may_use(resolved.service):
            return resolved
        else:
            near = self.router.near(name)
        if key is not None:
            near = tuple(one for one in near if key.may_use(self.router.routes[one].service))
        raise unknown(what, name, near, key)

    async def by_service(self, exchange: Exchange, id: bytes, path: bytes) -> None:
        """Answer `/service/{id}/{path}`; all as the client wrote it, with its query."""
        name = unquote_to_bytes(id).decode("utf-8", "replace")
        route = self.route("service", name, exchange.key)
        self._check_open(exchange, route, path)
        await self._serve(exchange, route, path, b"/service/" + id, None)

    def _check_open(self, exchange: Exchange, route: Route, target: bytes) -> None:
        """Refuse what administers a service: the proxy decides what it does, or people do.

        Raises:
            ApiError: 403, it is closed to clients.
        """
        closed = self._services[route.service].closed_by(exchange.head.method.decode(), target)
        if closed is not None:
            raise admin_closed(route.service, closed)

    async def by_model(self, exchange: Exchange, target: bytes, surface: Surface) -> None:
        """Answer a call of one of the APIs, by whoever has the model that it names."""
        try:
            asked = model_parameter(target) if b"?" in target else None
        except ValueError as error:
            raise ApiError(400, "invalid_request", str(error), param="model") from error
        other = self._settings.server.default_model if asked is None else asked.name
        held = Held(self.bodies)
        try:
            named = await self._read_model(exchange, held, other)
            if asked is not None and named not in (None, asked.name):
                message = f"the body asks for {named!r} and the query for {asked.name!r}"
                raise ApiError(400, "invalid_request", message, param="model")
            model = named or other
            if model is None:
                raise bad_body(missing_model())
            if surface.errors is Shape.OLLAMA and model not in self.router.routes:
                model = model.removesuffix(":latest")  # Which Ollama's clients may add.
            exchange.model = model
            route = self.route("model", model, exchange.key)
            if surface.is_open or b"?" in target:  # Other paths are ours, and administer nothing.
                self._check_open(exchange, route, target)
            service = self._services[route.service]
            host, rules = service.spec.host, service.rules
            if surface.errors is Shape.OLLAMA and service.type != "ollama":
                wanted, path = _wanted(route, host, rules, model), surface.path.encode()
                held, target = await translate(exchange, held, path, model, wanted)
            elif host is not None or rules is not None:
                wanted = _wanted(route, host, rules, model)
                target = await rewrite(exchange, held, wanted, target, asked)
            await self._serve(exchange, route, target, b"", held)
        finally:
            held.close()

    async def _read_model(self, exchange: Exchange, held: Held, other: str | None) -> str | None:
        """Read the body up to its model, and on if it is small; None: it names no model.

        Raises:
            ApiError: it says that in no way, or is too large to be held so far, or there are too
                many of them.
        """
        head = exchange.head
        if head.length == 0 and (other is not None or head.method != b"POST"):
            return None
        try:
            return await self._scan_model(exchange, held)
        except BadBody as bad:
            raise bad_body(bad) from bad

    async def _scan_model(self, exchange: Exchange, held: Held) -> str | None:
        kinds = exchange.head.known.get(b"content-type")
        form = boundary_of(kinds[0]) if kinds else None
        piece = exchange.at_hand()
        if piece is None:
            piece = await exchange.read()
        if (
            exchange.body_read
            and form is None
            and len(piece) <= min(READ_WHOLE, self.bodies.memory_max)
        ):
            if not held.add_nowait(piece):
                await held.add(piece)
            return model_in(piece)
        enough = min(HELD_WHOLE, self.bodies.memory_max)
        scan = held.scan = JsonModel() if form is None else FormModel(form)
        while True:
            scan.feed(piece)
            await held.add(piece)
            if exchange.body_read:
                scan.finish()
                break
            if scan.found is not None and held.size >= enough:
                break
            piece = await exchange.read()
        return None if scan.found is None else scan.found.name

    async def _serve(
        self, exchange: Exchange, route: Route, path: bytes, prefix: bytes, held: Held | None
    ) -> None:
        """Answer by a run of the service; by a fresh one if the first ends without a word.

        That is done once, and only with what is still here and does no harm: whatever killed the
        run may have been this very request.
        """
        assert exchange.key is None or exchange.key.may_use(route.service), "it was routed"
        exchange.service = route.service
        rules = self._services[route.service].rules
        if rules is not None:
            exchange.rules = rules
            check_size(exchange)
        try:
            await self._try(exchange, route.service, path, prefix, held, last=False)
        except _RunEnded:
            exchange.retries = 1
            await self._try(exchange, route.service, path, prefix, held, last=True)

    async def _try(
        self,
        exchange: Exchange,
        service: ServiceId,
        path: bytes,
        prefix: bytes,
        held: Held | None,
        *,
        last: bool,
    ) -> None:
        """Wait for a place, and forward.

        Raises:
            _RunEnded: the run has ended without a word, and it may be tried again.
        """
        exchange.asked_at = asked_at = trio.current_time()
        exchange.run = None
        kept = exchange.unread
        Kept.total += kept
        try:
            async with self._conductor.slot(
                service,
                request=exchange.request_id,
                meanwhile=self._waiting.teller(exchange, service, path, held),
            ) as slot:
                Kept.total -= kept
                kept = 0
                exchange.waited_s = trio.current_time() - asked_at
                exchange.run = slot.run
                earlier = self._conductor.report(service)
                connections = slot.connections
                if exchange.translation is not None and exchange.translation.only_loads:
                    await exchange.translation.loaded()
                    return
                hop = self._hop(exchange, connections, prefix)
                outgoing = _outgoing(exchange, hop, connections.prefix + path, held)
                try:
                    await forward(exchange, connections, outgoing)
                except UpstreamFault as fault:
                    message = str(fault)
                    if not fault.late:
                        report = await self._next_report(service, earlier)
                        if report is not None and fault.silent and outgoing.replayable and not last:
                            raise _RunEnded from fault
                        if report is not None:
                            message = f"{fault}: {report.cause.message}"
                    raise upstream_failed(service, message, late=fault.late) from fault
        finally:
            Kept.total -= kept
            if exchange.run is None:
                exchange.waited_s = trio.current_time() - asked_at

    def _hop(self, exchange: Exchange, connections: UpstreamConnections, prefix: bytes) -> Hop:
        hop = Hop(
            host=connections.authority,
            client=exchange.client,
            scheme=exchange.scheme,
            prefix=prefix,
            request_id=exchange.request_id.encode(),
            authorization=connections.authorization,
            drops_keys=exchange.key is not None,
            traceparent=b"" if exchange.trace is None else exchange.trace.for_upstream,
            forwarded=self._settings.server.forwarded,
        )
        if self._settings.server.via:
            hop.via = b"%s aiproxy" % exchange.head.version
            if not exchange.retries:
                exchange.added += ((b"Via", b"1.1 aiproxy"),)
        return hop

    async def _next_report(
        self, service: ServiceId, earlier: ExitReport | None
    ) -> ExitReport | None:
        """Return how the run ended that broke off; None: it lives, for all we know."""
        with trio.move_on_after(EXIT_S):
            # It is asked for, because it comes seldom, and at most 25 times.
            while (report := self._conductor.report(service)) is earlier:  # noqa: ASYNC110
                await trio.sleep(EXIT_S / 25)
            return report
        return None


class _RunEnded(Exception):
    """A run has ended before it answered, and the request is all here."""


def _wanted(
    route: Route, host: ServiceId | None, rules: RequestRules | None, name: str
) -> BodyRules:
    """Return what a body shall say to whoever was found by this name."""
    wanted = BodyRules() if rules is None else rules.body_rules(name)
    if host is None:
        return wanted
    # A server knows its models by its own names alone.
    return BodyRules(route.service.removeprefix(f"{host}/"), wanted.change)


def _outgoing(exchange: Exchange, hop: Hop, target: bytes, held: Held | None) -> Outgoing:
    head = exchange.head
    if exchange.rules is not None:
        head, hop.added = exchange.rules.filtered(head), exchange.rules.added
    if exchange.translation is not None:
        head = exchange.translation.head(head)
        hop.added += ADDED
    if exchange.key is not None and head.wants_websocket:
        head = without_subprotocols(head, SUBPROTOCOL)
    if held is not None:
        size = held.size + held.grown
        if exchange.body_read:
            length: int | None = size
            before = after = b""
        else:
            exchange.scan = held.scan
            length = head.length + held.grown if head.length >= 0 else None
            before, after = exchange.around(size)
        data = to_upstream(head, hop, target, length=length) + before
        in_pieces = held.on_disk or size > AT_ONCE_MAX
        if not in_pieces:
            data += held.joined() + after
        return Outgoing(
            data,
            whole=exchange.body_read,
            repeatable=True,  # A completion changes nothing.
            held=held,
            in_pieces=in_pieces,
            after=after,
        )
    data = to_upstream(head, hop, target, websocket=head.wants_websocket)
    if head.length:
        data += exchange.framed_at_hand()
        check_size(exchange)
        return Outgoing(data, whole=exchange.body_read, repeatable=False)
    return Outgoing(
        data,
        whole=True,
        repeatable=head.method in REPEATABLE,
        websocket=head.wants_websocket,
    )
