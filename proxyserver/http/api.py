"""The management API: what people and programs ask and tell the proxy itself."""

import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router as StarletteRouter
from starlette.types import Receive, Scope, Send

from proxycore import ServiceId, ServiceView, State, TicketId
from proxyserver._ask import NoAnswer
from proxyserver.access import ADMIN
from proxyserver.decisions import DECISIONS_MAX, Decisions, Kind
from proxyserver.refused import Refused
from proxyserver.runtime import ExitReport

from . import _memory
from ._access import Access
from ._configuration import ConfigurationApi
from ._docs_page import HEADERS, page
from ._events import EventApi
from ._lines import Lines
from ._models import ModelApi
from ._openapi import openapi
from ._ports import Conductor, Gauges, Health, Metrics, RuntimeState, Settings
from ._profiles import ProfileApi
from ._pulls import PullApi
from ._query import flag, parsed
from ._requests import RequestApi
from ._routes import KINDS, ROLES_OF, TABLE, TAIL_MAX, Who
from ._service_metrics import ServiceMetrics
from ._usage import UsageApi
from .errors import ApiError, refused, upstream_failed
from .inference import Inference

TAIL = 100
LIMIT = 100
VERSION = version("ai-inference-proxy")
HEALTH = {
    State.STARTING: "starting",
    State.WAKING: "starting",
    State.READY: "healthy",
    State.DRAINING: "healthy",
    State.FAILED: "unhealthy",
    State.BACKOFF: "unhealthy",
}
"""Docker's words, for those who look for them; None where nothing runs."""

EXCHANGE = "exchange"
"""The key in ASGI's scope of the exchange that a request is."""

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Answers everything but the requests that go to services."""

    def __init__(
        self,
        conductor: Conductor,
        settings: Settings,
        gauges: Gauges,
        decisions: Decisions,
        pulls: PullApi,
        requests: RequestApi,
        metrics: Metrics,
        access: Access,
        configuration: ConfigurationApi,
        profiles: ProfileApi,
        inference: Inference,
        *,
        schema: Callable[[], Mapping[str, Any]],
        nursery: trio.Nursery,
        started_at: float,
    ) -> None:
        self._conductor = conductor
        self._settings = settings
        self._gauges = gauges
        self._why = decisions
        self._pulls = pulls
        self._requests = requests
        self._numbers = metrics
        self._access = access
        self._configuration = configuration
        self._profiles = profiles
        self._inference = inference
        self._make_schema = schema
        self._schema: bytes | None = None
        self._nursery = nursery
        self._models = ModelApi(conductor, settings, inference, self._begin, started_at)
        # What runs unwatched is bounded: one of a kind for each service.
        self._unwatched: set[tuple[str, ServiceId]] = set()
        self._router = StarletteRouter(self._routes(), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            ApiError: no.
            HTTPException: no such path or method.
        """
        await self._router({**scope, "app": self}, receive, send)

    def _routes(self) -> list[StarletteRoute]:
        handlers: Mapping[str, Handler] = {
            "/v1/models": self._models.list,
            "/v1/models/{id}": self._models.show,
            "/models": self._models.list,
            "/models/load": self._models.load,
            "/models/unload": self._models.unload,
            "/models/sse": self._models.changes,
            "/api/v0/models": self._models.list_as_lm_studio,
            "/api/version": self._models.version,
            "/api/tags": self._models.tags,
            "/api/ps": self._models.running,
            "/api/show": self._models.tell,
            "/api/v1/services": self._services,
            "/api/v1/container/{id}": self._container,
            "/api/v1/service/{id}/start": self._start,
            "/api/v1/service/{id}/stop": self._stop,
            "/api/v1/service/{id}/restart": self._start,
            "/api/v1/service/{id}/sleep": self._sleep,
            "/api/v1/service/{id}/logs": self._logs,
            "/api/v1/service/{id}/metrics": self._metrics,
            "/api/v1/service/{id}/pull": self._pull,
            "/api/v1/service/{id}/pull/cancel": self._cancel_pull,
            "/api/v1/pulls": self._pulls.list,
            "/api/v1/pull": self._pulls.pull_named,
            "/api/v1/pull/cancel": self._pulls.cancel_named,
            "/api/v1/requests": self._requests.list,
            "/api/v1/requests/{id}": self._requests.cancel,
            "/api/v1/config": self._configuration.tell,
            "/api/v1/config/reload": self._configuration.reload,
            "/api/v1/config/diff": self._configuration.diff,
            "/api/v1/profile": self._profiles.tell,
            "/api/v1/profile/{id}": self._profiles.switch,
            "/api/v1/usage": UsageApi(self._numbers).tell,
            "/api/v1/decisions": self._decisions,
            "/api/v1/events": EventApi(self._why, self._inference).stream,
            "/health": self._health,
            "/metrics": self._all_metrics,
            "/metrics/services": ServiceMetrics(self._conductor, self._settings).show,
            "/api/v1/config/schema": self._config_schema,
            "/openapi.json": self._openapi,
            "/docs": self._docs,
        }
        entries = {entry.path: entry for entry in TABLE}
        return [
            # The id of a model inside a server has a slash in it.
            StarletteRoute(
                path.replace("{id}", "{id:path}"),
                self._guarded(handler, entries[path].who),
                methods=[entries[path].method],
            )
            for path, handler in handlers.items()
        ]

    def _guarded(self, handler: Handler, who: Who) -> Handler:
        """Return a handler that answers only those it is for.

        This stands behind the routing, so that no way to write a path leads around it.
        """
        if who == "anyone":
            return handler
        roles = ROLES_OF[who]

        async def guarded(request: Request) -> Response:
            self._access.require(request.scope[EXCHANGE], *roles)
            return await handler(request)

        return guarded

    async def _services(self, request: Request) -> Response:
        return JSONResponse({**self._overview(), "version": VERSION})

    async def _health(self, request: Request) -> Response:
        runtimes = _working(self._conductor.runtimes())
        works = all(runtime["ok"] for runtime in runtimes.values())
        health: dict[str, Any] = {
            "status": "ok" if works else "degraded",
            "version": VERSION,
            "runtimes": runtimes,
        }
        if flag(request, "detail"):
            self._access.require(request.scope[EXCHANGE], ADMIN)
            health |= {"gauges": _working(self._gauges.health()), **self._overview()}
        return JSONResponse(health)

    async def _all_metrics(self, request: Request) -> Response:
        numbers, media_type = self._numbers.exposed(request.headers.get("accept", ""))
        return Response(numbers, headers={"content-type": media_type})

    async def _config_schema(self, request: Request) -> Response:
        if self._schema is None:

            def make() -> bytes:
                return json.dumps(self._make_schema()).encode()

            self._schema = await trio.to_thread.run_sync(make)  # 50 ms.
        return Response(self._schema, media_type="application/schema+json")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi(VERSION))

    async def _docs(self, request: Request) -> Response:
        url = f"{request.url.scheme}://{request.headers.get('host', '')}"
        return HTMLResponse(page(VERSION, url), headers=HEADERS)

    async def _container(self, request: Request) -> Response:
        service = self._id(request)
        facts = await self._conductor.facts(service)
        service = self._id(request)  # It may be taken out of the configuration by now.
        picture = self._conductor.view()
        view = picture.service(service)
        report = self._conductor.report(service)
        return JSONResponse(
            {
                "id": service,
                "state": view.state.value,
                "run": view.run,
                "runtime": self._settings.services[service].runtime,
                "name": facts and facts.name,
                "image": facts and facts.image,
                "pid": facts and facts.pid,
                "ports": list(facts.ports) if facts else [],
                "started_at": facts and facts.started_at,
                "health": HEALTH.get(view.state),
                "exit": report and _exit(report),
                "memory": {
                    "ram": facts and facts.memory,
                    "vram": _memory.vram_of(self._gauges, picture, view.run),
                    "claimed": _claimed(view),
                },
            }
        )

    async def _start(self, request: Request) -> Response:
        service = self._id(request)
        restart = request.url.path.endswith("/restart")

        async def start() -> None:
            await self._conductor.start(service, restart=restart)

        return await self._act("restart" if restart else "start", service, start, request)

    async def _stop(self, request: Request) -> Response:
        service = self._id(request)
        force = flag(request, "force")

        async def stop() -> None:
            await self._conductor.stop(service, force=force)

        return await self._act("force stop" if force else "stop", service, stop, request)

    async def _sleep(self, request: Request) -> Response:
        service = self._id(request)
        spec = self._settings.services[service].spec
        state = self._conductor.view().service(service).state
        if not spec.asleep:
            message = f"{service} has no `sleep` in its configuration"
            raise ApiError(409, "cannot_sleep", message)
        if state not in (State.READY, State.DRAINING, State.SLEEPING, State.ASLEEP):
            message = f"{service} is {state.value}; only what is ready can be put to sleep"
            raise ApiError(409, "cannot_sleep", message)

        async def sleep() -> None:
            await self._conductor.sleep(service)

        return await self._act("sleep", service, sleep, request)

    async def _act(
        self, what: str, id: ServiceId, act: Callable[[], Awaitable[None]], request: Request
    ) -> Response:
        if flag(request, "wait", default=True):
            try:
                await act()
            except Refused as no:
                raise refused(no.reason, no.message, no.retry_after_s) from no
            return self._state(id, 200)
        await self._begin(what, id, act)
        return self._state(id, 202)

    async def _begin(self, what: str, id: ServiceId, act: Callable[[], Awaitable[None]]) -> None:
        """Do something that nobody waits for."""
        if (what, id) not in self._unwatched:
            self._unwatched.add((what, id))
            self._nursery.start_soon(self._act_unwatched, what, id, act)
            # So that the answer shows what it has set going.  One would not do: the two tasks are
            # in the same batch then, and Trio runs a batch in any order.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    async def _act_unwatched(
        self, what: str, id: ServiceId, act: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await act()
        except Refused:
            pass  # It shows in the state of the service, where whoever asked must look.
        finally:
            self._unwatched.discard((what, id))

    async def _logs(self, request: Request) -> Response:
        service = self._id(request)
        tail = parsed(request, "tail", TAIL, _tail, f"a number from 0 to {TAIL_MAX}")
        follow = flag(request, "follow")
        return Lines(self._conductor.log_lines(service, tail=tail, follow=follow))

    async def _metrics(self, request: Request) -> Response:
        service = self._id(request)
        state = self._conductor.view().service(service).state
        if self._settings.services[service].metrics is None:
            raise ApiError(409, "no_metrics", f"{service} has no `metrics` in its configuration")
        if state not in (State.READY, State.DRAINING):
            message = f"{service} is {state.value}: it is neither started nor woken for its metrics"
            raise ApiError(409, "no_metrics", message)
        exchange = request.scope[EXCHANGE]
        # What was shown to us was for us.
        authorization = None if exchange.key else request.headers.get("authorization")
        try:
            status, said = await self._conductor.metrics(service, authorization)
        except NoAnswer as error:
            raise upstream_failed(service, f"does not tell its metrics: {error}") from error
        return Response(said, status, media_type="text/plain; version=0.0.4")

    async def _pull(self, request: Request) -> Response:
        return await self._pulls.pull(self._pulls.image_of(self._id(request)), request)

    async def _cancel_pull(self, request: Request) -> Response:
        return self._pulls.cancel(self._pulls.image_of(self._id(request)))

    async def _decisions(self, request: Request) -> Response:
        wanted = request.query_params
        name = wanted.get("service")
        found = self._why.find(
            service=None if name is None else self._inference.route("service", name).service,
            ticket=parsed(request, "ticket", None, _ticket, "the number of a ticket"),
            request=wanted.get("request"),
            kind=parsed(request, "kind", None, Kind, f"one of {', '.join(KINDS)}"),
            limit=parsed(request, "limit", LIMIT, _limit, f"a number from 1 to {DECISIONS_MAX}"),
        )
        return JSONResponse({"decisions": [one.as_json() for one in found]})

    def _id(self, request: Request) -> ServiceId:
        return self._inference.route("service", request.path_params["id"]).service

    def _state(self, id: ServiceId, status: int) -> Response:
        self._inference.route("service", id)  # It may be taken out of the configuration by now.
        view = self._conductor.view().service(id)
        return JSONResponse({"id": id, "state": view.state.value, "run": view.run}, status)

    def _overview(self) -> dict[str, Any]:
        view = self._conductor.view()
        now = trio.current_time()
        return {
            "configuration": self._configuration.standing(),
            "services": [self._status(service, now) for service in view.services],
            "devices": [
                {
                    **attrs.asdict(device),
                    "unit": device.unit.value,
                    "measured": _memory.of_device(self._gauges, view, device.id),
                }
                for device in view.devices
            ],
        }

    def _status(self, view: ServiceView, now: float) -> dict[str, Any]:
        service = self._settings.services[view.id]
        spec = service.spec
        return {
            "id": view.id,
            "host": view.host,
            "type": service.type,
            "runtime": service.runtime,
            "state": view.state.value,
            "run": view.run,
            "why": view.lost or view.why,
            "for_s": now - view.since_at,
            "progress": self._conductor.progress(view.id),
            "waiting": view.waiting + self._pulls.waiting(view.id),
            "in_flight": view.in_flight,
            "idle_in_s": _until(view.idle_until, now),
            "retry_in_s": _until(view.retry_at, now),
            "failures": view.failures,
            "placement": _claimed(view),
            "estimates": [dict(one.amounts) for one in view.estimates],
            "load_s": view.experience.load_s or spec.load_s,
            "aliases": list(spec.aliases),
            "pinned": spec.pinned,
            "cause": view.cause and attrs.asdict(view.cause),
            "removed": view.is_removed,
            "pull": self._pulls.for_service(view.id),
        }


def _working(parts: Mapping[str, RuntimeState | Health]) -> dict[str, dict[str, Any]]:
    return {name: {"ok": part.ok, "message": part.message} for name, part in parts.items()}


def _exit(report: ExitReport) -> dict[str, Any]:
    return {
        "cause": attrs.asdict(report.cause),
        "exit_code": report.exit_code,
        "oom_killed": report.oom_killed,
        "log_tail": list(report.log_tail),
    }


def _claimed(view: ServiceView) -> dict[str, int]:
    held = view.placement or view.promised
    return dict(held.amounts) if held else {}


def _until(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, at - now)


def _tail(text: str) -> int:
    tail = int(text)
    if not 0 <= tail <= TAIL_MAX:
        raise ValueError
    return tail


def _limit(text: str) -> int:
    limit = int(text)
    if not 1 <= limit <= DECISIONS_MAX:
        raise ValueError
    return limit


def _ticket(text: str) -> TicketId:
    return TicketId(int(text))
