"""The part of the API that reads the configuration again, and tells what that does or would do."""

import json
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._ports import Configuration, Outcome
from ._small_body import small_body
from .errors import ApiError

TEXT_MAX = 1024 * 1024
"""As much as a file may have."""


@attrs.frozen
class ConfigurationApi:
    """Answers what is about the configuration."""

    _configuration: Configuration

    def standing(self) -> dict[str, Any]:
        return self._configuration.as_json()

    async def tell(self, request: Request) -> Response:
        return JSONResponse(self.standing())

    async def reload(self, request: Request) -> Response:
        return _answer(await self._configuration.reload("asked for"))

    async def diff(self, request: Request) -> Response:
        """Compare the files with what is in force, or what the body says that the file would."""
        return _answer(await self._configuration.diff(await _text(request)))


async def _text(request: Request) -> str | None:
    """Return the body; None: there is none.

    Raises:
        ApiError: it is too large, or no text.
    """
    body = await small_body(request, TEXT_MAX, "a configuration")
    try:
        return body.decode("utf-8-sig") or None
    except UnicodeDecodeError:
        raise ApiError(400, "invalid_request", "the body is not UTF-8") from None


def _answer(outcome: Outcome) -> Response:
    said = outcome.as_json()
    problems = said.pop("problems")
    if problems:
        first = "; ".join(_line(one) for one in problems[:3])
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        message = f"the configuration is refused, and the one in force stays: {first}{more}"
        refused = json.loads(ApiError(422, "configuration_refused", message).encoded())
        refused["error"]["problems"] = problems
        return JSONResponse(refused, 422)
    return JSONResponse(said)


def _line(problem: dict[str, Any]) -> str:
    path = f"{problem['path']}: " if problem["path"] else ""
    return f"{problem['file']}:{problem['line']}:{problem['column']}: {path}{problem['message']}"
