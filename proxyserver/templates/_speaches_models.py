"""The models of a Speaches, by its source of 2026: `/api/ps` lists, loads and unloads them."""

import json
from urllib.parse import quote

import attrs

from proxyserver._ask import NoAnswer, ask
from proxyserver.runtime._protocol import Endpoint

from ._protocol import LOAD_S, ModelState, ModelStatus, Progress

LOADED_ALREADY = 409


@attrs.frozen
class SpeachesModels:
    """Asks a Speaches: `GET /api/ps`, `POST` and `DELETE` `/api/ps/{model}`."""

    models_max: int | None = None

    async def status(self, endpoint: Endpoint, model: str) -> ModelStatus:
        """Tell how a model is.

        Raises:
            NoAnswer: none came, or none that tells of models.
        """
        _, said = await ask(endpoint, "GET", "/api/ps")
        try:
            loaded = model in json.loads(said)["models"]
        except (ValueError, TypeError, KeyError) as error:
            raise NoAnswer(f"GET /api/ps: no list of models: {error}") from error
        return ModelStatus(ModelState.LOADED if loaded else ModelState.UNLOADED)

    async def load(self, endpoint: Endpoint, model: str, told: Progress) -> str | None:
        """Load a model; return when that is over, and why it has failed, if it has.

        Raises:
            NoAnswer: none came.
        """
        status, said = await ask(endpoint, "POST", _path(model), within_s=LOAD_S)
        if status < 300 or status == LOADED_ALREADY:
            return None
        match _json(said):
            case {"message": str(message)} | {"detail": str(message)}:
                return message[:500]
        return f"HTTP {status}"

    async def unload(self, endpoint: Endpoint, model: str) -> None:
        """Unload a model.

        Raises:
            NoAnswer: none came.
        """
        await ask(endpoint, "DELETE", _path(model))


def _path(model: str) -> str:
    return f"/api/ps/{quote(model, safe='/')}"


def _json(said: bytes) -> object:
    try:
        return json.loads(said)
    except ValueError:
        return None
