"""llama.cpp's llama-server with many models, one process for each that is loaded.

docs/reference/templates/llamacpp-router.md.  The proxy decides what is loaded: the server's own
limit counts models, not bytes, and it evicts before it knows whether the new one loads.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from proxyserver._ask import NoAnswer, ask, listen
from proxyserver._beside import beside
from proxyserver.runtime._protocol import (
    ContainerSpec,
    Endpoint,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
)
from proxyserver.shapes import Command, Count, HostPath, Natural, Word

from ._parts import DEVICES
from ._protocol import LOAD_S, Draft, ModelState, ModelStatus, Progress
from .llamacpp import _IMAGE_TAGS, ADMIN, FAILURES, IMAGE, PORT

FOLDER = "/models"
POLL_S = 0.05
_ADMIN = (
    *("/models/load", "/models/unload", "POST /models", "DELETE /models"),
    "?autoload",  # It would load a model in spite of `--no-models-autoload`.
)


@attrs.frozen
class LlamaCppRouterOptions:
    """What a service of the type `llamacpp-router` may say."""

    models_dir: HostPath
    """A GGUF in it is a model by the name of the file, a folder of several parts by its own."""
    ctx: Natural | None = None
    parallel: Count | None = None
    gpu_layers: Natural | Literal["auto", "all"] | None = None
    threads: Count | None = None
    api_key: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "cpu", "rocm", "vulkan"] | None = None
    """None: `cpu` when `gpu_layers` is 0, else `cuda`."""
    binary: str = "llama-server"


class LlamaCppRouter:
    """Runs llama-server without a model of its own, as a container or as a process."""

    name = "llamacpp-router"
    options = LlamaCppRouterOptions

    def draft(self, options: LlamaCppRouterOptions) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: there is no such folder.
        """
        if not Path(options.models_dir).is_dir():
            raise ValueError(f"`models_dir`: no such folder: {options.models_dir}")
        variant = options.variant or ("cpu" if options.gpu_layers == 0 else "cuda")
        uses_gpu = variant != "cpu" and options.gpu_layers != 0
        environment = (("LLAMA_API_KEY", options.api_key),) if options.api_key is not None else ()
        return Draft(
            container=ContainerSpec(
                image=f"{IMAGE}:{_IMAGE_TAGS[variant]}",
                port=PORT,
                command=tuple(_arguments(options, "0.0.0.0", str(PORT), FOLDER)),
                environment=environment,
                mounts=(Mount(options.models_dir, FOLDER, read_only=True),),
                gpus=variant == "cuda" and uses_gpu,
                devices=DEVICES.get(variant, ()) if uses_gpu else (),
                healthcheck=False,
            ),
            process=ProcessSpec(
                command=(
                    options.binary,
                    *_arguments(options, "127.0.0.1", "${PORT}", options.models_dir),
                ),
                environment=environment,
            ),
            ready=Probe("/health", 200),
            ready_line=r"listening on http",
            live=LiveProbe("/health", 200),
            # Without the second word the question would load the model.
            metrics="/metrics?model=${MODEL}&autoload=false",
            failures=FAILURES,
            admin=(*ADMIN, *_ADMIN),
            load_s=1.0,  # It is there at once; its models take the time.
            models=RouterModels(options.api_key),
        )


def _arguments(options: LlamaCppRouterOptions, host: str, port: str, folder: str) -> Iterator[str]:
    yield from ("--models-dir", folder, "--no-models-autoload", "--models-max", "0")
    yield from ("--host", host, "--port", port)
    # What follows goes to every model; see the template `llamacpp`.
    yield from ("--sse-ping-interval", "1", "--metrics", "-lv", "4")
    valued: tuple[tuple[str, object], ...] = (
        ("--ctx-size", options.ctx),
        ("--parallel", options.parallel),
        ("--gpu-layers", options.gpu_layers),
        ("--threads", options.threads),
    )
    for flag, value in valued:
        if value is not None:
            yield from (flag, str(value))
    yield from options.args


@attrs.frozen
class RouterModels:
    """Asks a llama-server in router mode: `GET /models`, `POST /models/load`, `/models/unload`."""

    api_key: str | None = None
    models_max: int | None = None

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is.

        Raises:
            NoAnswer: none came, or none that tells of models.
        """
        said = await self._ask(endpoint, "GET", "/models", b"")
        try:
            entries = {entry["id"]: entry["status"] for entry in json.loads(said)["data"]}
        except (ValueError, TypeError, KeyError) as error:
            raise NoAnswer(f"GET /models: no list of models: {error}") from error
        return state_of(entries[model]) if model in entries else ModelStatus(ModelState.MISSING)

    async def load(self, endpoint: Endpoint, model: str, told: Progress) -> str | None:
        """Load a model; one that is on its way is refused, which means nothing.

        Raises:
            NoAnswer: none came.
        """
        follow = partial(self._follow, endpoint, model, told)
        return await beside(follow, partial(self._load, endpoint, model))

    async def _load(self, endpoint: Endpoint, model: str) -> str | None:
        await self._ask(endpoint, "POST", "/models/load", _order(model))
        was_loading = False
        while (status := await self.status(endpoint, model)).state is ModelState.LOADING:
            was_loading = True
            await trio.sleep(POLL_S)
        if was_loading and status.state is not ModelState.LOADED:
            return f"its process ended{status.message}"
        return None  # Its status tells what came of it.

    async def _follow(self, endpoint: Endpoint, model: str, told: Progress) -> None:
        """Tell of the progress that the server's events tell of, until cancelled."""

        def line(text: str) -> None:
            progress = progress_of(text, model)
            if progress is not None:
                told(progress)

        try:
            await listen(
                endpoint, "GET", "/models/sse", line, headers=self._headers, within_s=LOAD_S
            )
        except NoAnswer:
            return  # An older server has no such events.

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Begin to unload a model.

        Raises:
            NoAnswer: none came.
        """
        await self._ask(endpoint, "POST", "/models/unload", _order(model))

    async def _ask(self, endpoint: Endpoint, method: str, path: str, body: bytes) -> bytes:
        _, said = await ask(endpoint, method, path, body=body, headers=self._headers)
        return said

    @property
    def _headers(self) -> tuple[tuple[str, str], ...]:
        return () if self.api_key is None else (("Authorization", f"Bearer {self.api_key}"),)


def _order(model: str) -> bytes:
    return json.dumps({"model": model}).encode()


def state_of(told: Any) -> ModelStatus:
    """Read what the list says of one model; what is new to us is on its way to something."""
    value = told.get("value") if isinstance(told, dict) else None
    match value:
        case "unloaded" if told.get("failed"):
            return ModelStatus(ModelState.FAILED, f" (exit code {told.get('exit_code')})")
        case "unloaded":
            return ModelStatus(ModelState.UNLOADED)
        case "loaded" | "sleeping":
            return ModelStatus(ModelState.LOADED)
        case _:
            return ModelStatus(ModelState.LOADING)


def progress_of(line: str, model: str) -> float | None:
    """Return how much of the load of a model is done, if a line of events tells of that."""
    try:
        told = json.loads(line.removeprefix("data:"))
    except ValueError:
        return None
    match told:
        case {
            "model": str(name),
            "data": {
                "progress": {
                    "stages": [*stages],
                    "current": current,
                    "value": int() | float() as part,
                }
            },
        } if name == model and current in stages:
            return (stages.index(current) + float(part)) / len(stages)
    return None
