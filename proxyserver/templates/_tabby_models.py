"""The models of a tabbyAPI, one of which it holds at a time.

By its source of August 2026: a load is answered by a stream of its progress, and a failed one by
HTTP 200 with an error in that stream; it goes on when whoever asked for it leaves, and who asks
again joins it; loading replaces what is loaded; an unload waits for nobody.

A request is answered by what is loaded, whatever name it has.  So a model counts as loaded only
while `GET /v1/model` says its name, and what is asked for it is sent only then.
"""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from proxyserver._ask import NoAnswer, ask, listen
from proxyserver.runtime._protocol import Endpoint

from ._protocol import LOAD_S, ModelState, ModelStatus, Progress

FAULT_MAX = 500


@attrs.frozen
class TabbyModels:
    """Asks a tabbyAPI: `GET /v1/model`, `POST /v1/model/load`, `/v1/model/unload`."""

    parameters: Mapping[str, Any]
    """What every load says beside the name; flags of the command line hold for the first alone."""
    models_max: int | None = 1

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is.

        Raises:
            NoAnswer: none came, or none that tells of a model.
        """
        status, said = await ask(endpoint, "GET", "/v1/model")
        if status != 200:
            return ModelStatus(ModelState.UNLOADED)
        try:
            loaded = json.loads(said)["id"]
        except (ValueError, TypeError, KeyError) as error:
            raise NoAnswer(f"GET /v1/model: no model: {error}") from error
        if loaded == model:
            return ModelStatus(ModelState.LOADED)
        return ModelStatus(ModelState.UNLOADED, f": {loaded!r} is loaded instead")

    async def load(self, endpoint: Endpoint, model: str, told: Progress) -> str | None:
        """Load a model; return when that is over, and why it has failed, if it has.

        Raises:
            NoAnswer: none came, or it broke off.
        """
        fault: str | None = None
        said = ""

        def line(text: str) -> None:
            nonlocal fault, said
            said = said or text[:FAULT_MAX]
            match _event(text):
                case {"error": {"message": message}} | {"detail": {"error": {"message": message}}}:
                    fault = str(message)[:FAULT_MAX]
                case {"detail": str(message)}:
                    fault = message[:FAULT_MAX]
                case {"model_type": "model", "module": int(done), "modules": int(all)} if all > 0:
                    told(done / all)

        order = json.dumps({"model_name": model, **self.parameters}).encode()
        status = await listen(endpoint, "POST", "/v1/model/load", line, body=order, within_s=LOAD_S)
        return fault or (None if status == 200 else f"HTTP {status}: {said}")

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Unload what is loaded.

        Raises:
            NoAnswer: none came.
        """
        await ask(endpoint, "POST", "/v1/model/unload")


def _event(line: str) -> Any:
    """Return what a line of a stream, or of an answer, says; None: nothing, such as a ping."""
    try:
        return json.loads(line.removeprefix("data:"))
    except ValueError:
        return None
