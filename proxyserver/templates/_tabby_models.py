"""The models of a tabbyAPI, one of which it holds at a time.

By its source of August 2026: a load is answered by a stream of its progress, and a failed one by
HTTP 200 with an error in that stream; it goes on when whoever asked for it leaves; loading
replaces what is loaded; an unload waits for nobody.
"""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from proxyserver._ask import NoAnswer, ask
from proxyserver.runtime._protocol import Endpoint

from ._protocol import ModelState, ModelStatus

LOAD_S = 1800.0
"""The stream of a load is over when the load is; what ends a load that hangs is the service's
own limit."""


@attrs.define
class TabbyModels:
    """Asks a tabbyAPI: `GET /v1/model`, `POST /v1/model/load`, `/v1/model/unload`."""

    parameters: Mapping[str, Any]
    """What every load says beside the name; flags of the command line hold for the first alone."""
    models_max: int | None = 1
    _failed: dict[str, str] = attrs.field(factory=dict, init=False)
    """Why the last load of a model failed: the server itself does not remember it."""

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is.

        Raises:
            NoAnswer: none came, or none that tells of a model.
        """
        status, said = await ask(endpoint, "GET", "/v1/model")
        if status == 200:
            try:
                loaded = json.loads(said)["id"]
            except (ValueError, TypeError, KeyError) as error:
                raise NoAnswer(f"GET /v1/model: no model: {error}") from error
            if loaded == model:
                self._failed.pop(model, None)
                return ModelStatus(ModelState.LOADED)
        if model in self._failed:
            return ModelStatus(ModelState.FAILED, f": {self._failed[model]}")
        return ModelStatus(ModelState.UNLOADED)

    async def load(self, endpoint: Endpoint, model: str) -> None:
        """Load a model; return when that is over, whatever came of it.

        Raises:
            NoAnswer: none came.
        """
        self._failed.pop(model, None)
        order = json.dumps({"model_name": model, **self.parameters}).encode()
        status, said = await ask(endpoint, "POST", "/v1/model/load", body=order, within_s=LOAD_S)
        if (fault := _fault(status, said)) is not None:
            self._failed[model] = fault

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Unload what is loaded.

        Raises:
            NoAnswer: none came.
        """
        await ask(endpoint, "POST", "/v1/model/unload")


def _fault(status: int, said: bytes) -> str | None:
    """Return why a load has failed; None: it has not."""
    text = said.decode("utf-8", "replace")
    for line in text.splitlines() if status == 200 else [text]:
        try:
            told = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        told = told.get("detail", told) if isinstance(told, dict) else {}
        if isinstance(told, dict) and isinstance(told.get("error"), dict):
            return str(told["error"].get("message"))[:500]
    return None if status == 200 else f"HTTP {status}: {text[:200]}"
