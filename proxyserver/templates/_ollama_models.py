"""The models of an Ollama, by its source of August 2026.

`/api/ps` lists what is loaded, but waits for what is being loaded; an empty request loads a model,
and one with `keep_alive: 0` unloads it, once nobody uses it.
"""

import json
from typing import Any

import attrs

from proxyserver._ask import NoAnswer, ask
from proxyserver.runtime._protocol import Endpoint

from ._protocol import LOAD_S, ModelState, ModelStatus, Progress


@attrs.frozen
class OllamaModels:
    """Asks an Ollama: `GET /api/ps`, `/api/tags`, `POST /api/generate`, `/api/embeddings`."""

    models_max: int | None

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is.

        Raises:
            NoAnswer: none came, or none that tells of models.
        """
        if whole(model) in await self._names(endpoint, "/api/ps"):
            return ModelStatus(ModelState.LOADED)
        there = whole(model) in await self._names(endpoint, "/api/tags")
        return ModelStatus(ModelState.UNLOADED if there else ModelState.MISSING)

    async def _names(self, endpoint: Endpoint, path: str) -> list[str]:
        _, said = await ask(endpoint, "GET", path)
        try:
            return [whole(one["name"]) for one in json.loads(said)["models"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoAnswer(f"GET {path}: no list of models: {error}") from error

    async def load(self, endpoint: Endpoint, model: str, told: Progress) -> str | None:
        """Load a model; return when that is over, and why it has failed, if it has.

        Raises:
            NoAnswer: none came.
        """
        fault = await self._empty(endpoint, "/api/generate", model, keep_alive=-1, stream=False)
        if fault is not None and "does not support generate" in fault:
            fault = await self._empty(endpoint, "/api/embeddings", model, keep_alive=-1)
        return fault

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Begin to unload a model.

        Raises:
            NoAnswer: none came.
        """
        await self._empty(endpoint, "/api/generate", model, keep_alive=0, stream=False)

    async def _empty(self, endpoint: Endpoint, path: str, model: str, **more: Any) -> str | None:
        """Send a request with nothing to answer; return why it was refused."""
        body = json.dumps({"model": model, **more}).encode()
        status, said = await ask(endpoint, "POST", path, body=body, within_s=LOAD_S)
        if status == 200:
            return None
        try:
            return str(json.loads(said)["error"])[:500]
        except (ValueError, TypeError, KeyError):
            return f"HTTP {status}"


def whole(name: str) -> str:
    """Return the name of a model with its tag, which is `latest` where none is said.

    >>> whole("llama3.2"), whole("hf.co/some/model:Q4")
    ('llama3.2:latest', 'hf.co/some/model:Q4')
    """
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
