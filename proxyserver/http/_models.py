"""The lists of models, as each kind of client reads them: from the configuration, at once.

OpenAI's, with what llama.cpp's router, vLLM and LM Studio say beside; and Ollama's.  Nothing is
started for any of them, and no service is asked.
"""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxycore import RAM, CoreView, ServiceId, ServiceView, State, Unit
from proxyserver.about import About
from proxyserver.access import Key
from proxyserver.surfaces.ollama import VERSION
from proxyserver.wire import not_json

from ._lines import Lines
from ._ports import Conductor, Settings
from ._small_body import small_body
from .errors import ApiError
from .inference import Inference

BODY_MAX = 64 * 1024
LOOK_S = 0.25
"""How often it is looked for changes, for those who want to be told."""
QUIET_S = 20.0
"""After so long without a change, a comment tells that the connection lives."""
STATUS = {
    State.RESERVED: "loading",
    State.STARTING: "loading",
    State.WAKING: "loading",
    State.READY: "loaded",
    State.DRAINING: "loaded",
    State.SLEEPING: "sleeping",
    State.ASLEEP: "sleeping",
}
"""In llama.cpp's words; what is none of these is unloaded."""
_EMBEDS = frozenset({"infinity", "tei"})
"""Types of servers that do not chat."""

Act = Callable[[str, ServiceId, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Begins to do something that nobody waits for."""


@attrs.frozen
class Named:
    """A name that `model` may have, and what stands behind it."""

    name: str
    view: ServiceView
    type: str
    about: About | None

    @property
    def status(self) -> dict[str, Any]:
        """What llama.cpp's router says of a model."""
        failed = self.view.state in (State.FAILED, State.BACKOFF)
        value = STATUS.get(self.view.state, "unloaded")
        return {"value": value, "failed": True} if failed else {"value": value}

    @property
    def is_loaded(self) -> bool:
        return STATUS.get(self.view.state) == "loaded"


class ModelApi:
    """Answers what clients ask about models before they use them."""

    def __init__(
        self,
        conductor: Conductor,
        settings: Settings,
        inference: Inference,
        act: Act,
        started_at: float,
    ) -> None:
        self._conductor = conductor
        self._settings = settings
        self._inference = inference
        self._act = act
        self._started_at = int(started_at)

    # OpenAI, with llama.cpp's status of each

    async def list(self, request: Request) -> Response:
        data = [self._model(one) for one in self._named(_key(request))]
        return JSONResponse({"object": "list", "data": data})

    async def show(self, request: Request) -> Response:
        return JSONResponse(self._model(self._one(request.path_params["id"], _key(request))))

    def _model(self, named: Named) -> dict[str, Any]:
        about = named.about
        return {
            "id": named.name,
            "object": "model",
            "created": self._started_at,
            "owned_by": named.view.id,
            "status": named.status,
            "max_model_len": about and about.context,
            "meta": about
            and {
                "n_ctx": about.context,
                "n_ctx_train": about.trained_context,
                "n_params": about.parameters,
                "size": about.size,
            },
        }

    async def list_as_lm_studio(self, request: Request) -> Response:
        data = [
            {
                "id": one.name,
                "object": "model",
                "type": "embeddings" if one.type in _EMBEDS else "llm",
                "publisher": one.view.id,
                "arch": one.about and one.about.architecture,
                "compatibility_type": "gguf" if one.about else None,
                "quantization": one.about and one.about.quantisation,
                "state": "loaded" if one.is_loaded else "not-loaded",
                "max_context_length": one.about and one.about.trained_context,
            }
            for one in self._named(_key(request))
        ]
        return JSONResponse({"object": "list", "data": data})

    # llama.cpp's router

    async def load(self, request: Request) -> Response:
        service = await self._wanted(request)

        async def start() -> None:
            await self._conductor.start(service)

        await self._act("start", service, start)
        return JSONResponse({"success": True})

    async def unload(self, request: Request) -> Response:
        service = await self._wanted(request)

        async def stop() -> None:
            await self._conductor.stop(service)

        await self._act("stop", service, stop)
        return JSONResponse({"success": True})

    async def changes(self, request: Request) -> Response:
        return Lines(self._changes(_key(request)), "text/event-stream")

    async def _changes(self, key: Key | None) -> AsyncIterator[str]:
        """Yield an event for each model now, and for each that is another afterwards."""
        known: dict[str, dict[str, Any]] = {}
        quiet_until = trio.current_time() + QUIET_S
        while True:
            now = {one.name: self._progress(one) for one in self._named(key)}
            for name, data in now.items():
                if known.get(name) != data:
                    event = {"model": name, "event": "status_change", "data": data}
                    yield f"data: {json.dumps(event)}\n"
                    quiet_until = trio.current_time() + QUIET_S
            if trio.current_time() >= quiet_until:
                yield ":\n"
                quiet_until = trio.current_time() + QUIET_S
            known = now
            await trio.sleep(LOOK_S)

    def _progress(self, named: Named) -> dict[str, Any]:
        value = named.status["value"]
        told: dict[str, Any] = {"status": value}
        done = self._conductor.progress(named.view.id) if value == "loading" else None
        if done is not None:
            told["progress"] = {"stages": ["text_model"], "current": "text_model", "value": done}
        return told

    # Ollama

    async def version(self, request: Request) -> Response:
        return JSONResponse({"version": VERSION})

    async def tags(self, request: Request) -> Response:
        models = [self._tag(one) for one in self._named(_key(request))]
        return JSONResponse({"models": models})

    async def running(self, request: Request) -> Response:
        now = trio.current_time()
        of_bytes = {
            device.id for device in self._conductor.view().devices if device.unit is Unit.BYTES
        }
        models = []
        for one in self._named(_key(request)):
            if one.is_loaded:
                held = one.view.placement.amounts if one.view.placement else ()
                claims = {device: size for device, size in held if device in of_bytes}
                idle_until = one.view.idle_until
                left_s = 365 * 86400.0 if idle_until is None else max(0.0, idle_until - now)
                tag = self._tag(one)
                tag["expires_at"] = _when(time.time() + left_s)
                tag["size"] = sum(claims.values()) or tag["size"]
                tag["size_vram"] = sum(claims.values()) - claims.get(RAM, 0)
                tag["context_length"] = one.about.context if one.about else 0
                del tag["modified_at"]
                models.append(tag)
        return JSONResponse({"models": models})

    async def tell(self, request: Request) -> Response:
        said = await _said(request)
        one = self._one(_name(said.get("model") or said.get("name")), _key(request))
        tag, about = self._tag(one), one.about
        embeds = one.type in _EMBEDS
        info: dict[str, Any] = {}
        if about is not None:
            info = {
                "general.architecture": about.architecture,
                "general.parameter_count": about.parameters,
                f"{about.architecture}.context_length": about.trained_context,
            }
        return JSONResponse(
            {
                "modelfile": f"# {one.name} is served by {one.view.id}, of the type {one.type}",
                "parameters": "" if about is None else f"num_ctx {about.context}",
                "template": "",
                "details": tag["details"],
                "model_info": info,
                # What a model can is the server's to say: clients that are told too little do not
                # even ask, and those that ask get the server's own answer.
                "capabilities": ["embedding"] if embeds else ["completion", "tools"],
                "modified_at": tag["modified_at"],
            }
        )

    def _tag(self, named: Named) -> dict[str, Any]:
        about = named.about
        family = about.architecture if about else named.type
        return {
            "name": named.name,
            "model": named.name,
            "modified_at": _when(self._started_at),
            "size": about.size if about else 0,
            # Of its name: what it is made of is not read through for a list.
            "digest": hashlib.sha256(named.name.encode()).hexdigest(),
            "details": {
                "parent_model": "",
                "format": "gguf" if about else "",
                "family": family,
                "families": [family],
                "parameter_size": _billions(about.parameters) if about else "",
                "quantization_level": about.quantisation if about else "",
            },
        }

    # What they have in common

    def _named(self, key: Key | None) -> Iterator[Named]:
        picture = self._conductor.view()
        views = {view.id: view for view in picture.services}
        for name, route in self._inference.router.routes.items():
            if route.service in views and (key is None or key.may_use(route.service)):
                yield self._of(name, views[route.service])

    def _one(self, name: str, key: Key | None) -> Named:
        if name not in self._inference.router.routes:
            name = name.removesuffix(":latest")
        route = self._inference.route("model", name, key)
        picture: CoreView = self._conductor.view()
        return self._of(name, picture.service(route.service))

    def _of(self, name: str, view: ServiceView) -> Named:
        service = self._settings.services[view.id]
        return Named(name, view, service.type, service.about)

    async def _wanted(self, request: Request) -> ServiceId:
        name = _name((await _said(request)).get("model"))
        return self._one(name, _key(request)).view.id


def _key(request: Request) -> Key | None:
    key: Key | None = request.scope["exchange"].key
    return key


def _name(said: Any) -> str:
    if not isinstance(said, str) or not said:
        raise ApiError(400, "missing_model", "the body needs `model`, a name", param="model")
    return said


async def _said(request: Request) -> dict[str, Any]:
    """Return the small JSON object that a request sends.

    Raises:
        ApiError: it is none, or not small.
    """
    body = await small_body(request, BODY_MAX, "such a body")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_json", not_json(error)) from error
    if not isinstance(said, dict):
        raise ApiError(400, "invalid_json", "the body must be a JSON object")
    return said


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
