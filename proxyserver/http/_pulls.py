"""The part of the API that fetches images, tells how far that is, and cancels it."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxycore import ServiceId
from proxyserver.runtime import RuntimeFault

from ._lines import Lines
from ._ports import Gate, Pull, Pulls
from ._query import flag, parsed
from ._routes import IMAGE_MAX, IMAGE_PATTERN
from .errors import ApiError, again


@attrs.frozen
class PullApi:
    """Answers what is about images."""

    _pulls: Pulls
    _gate: Gate

    async def list(self, request: Request) -> Response:
        """Tell of all pulls that run, and how the last of each other image ended."""
        return JSONResponse({"pulls": [pull.as_json() for pull in self._pulls.known.values()]})

    async def pull_named(self, request: Request) -> Response:
        return await self.pull(_image(request), request)

    async def cancel_named(self, request: Request) -> Response:
        return self.cancel(_image(request))

    async def pull(self, image: str, request: Request) -> Response:
        """Fetch an image; with `wait`, tell how far it is, a line each time, until it is over."""
        wait = flag(request, "wait", default=True)
        try:
            pull = self._pulls.begin(image)
        except RuntimeFault as fault:
            code = "shutting_down" if fault.cause.kind == "pull_cancelled" else "server_busy"
            raise ApiError(503, code, fault.cause.message, headers=again(5.0)) from fault
        if not wait:
            return JSONResponse(pull.as_json(), 202)
        return Lines(_told(pull), "application/x-ndjson")

    def cancel(self, image: str) -> Response:
        return JSONResponse({"image": image, "cancelled": self._pulls.cancel(image)})

    def image_of(self, service: ServiceId) -> str:
        """Return the image of a service.

        Raises:
            ApiError: it has none.
        """
        image = self._gate.image_of(service)
        if image is None:
            raise ApiError(409, "no_image", f"{service} runs in no container: it has no image")
        return image

    def for_service(self, service: ServiceId) -> dict[str, Any] | None:
        """Return what there is to say about the image of a service: its pull, or how it failed."""
        image = self._gate.image_of(service)
        pull = None if image is None else self._pulls.known.get(image)
        return None if pull is None or pull.state == "done" else pull.as_json()

    def waiting(self, service: ServiceId) -> int:
        return self._gate.waiting(service)


async def _told(pull: Pull) -> AsyncIterator[str]:
    async with aclosing(pull.steps()) as steps:  # type: ignore[type-var]
        async for now in steps:
            yield json.dumps(now.as_json())


def _image(request: Request) -> str:
    def read(text: str) -> str:
        if len(text) > IMAGE_MAX or not re.fullmatch(IMAGE_PATTERN, text):
            raise ValueError
        return text

    image = parsed(request, "image", None, read, "the name of an image, such as `name:tag`")
    if image is None:
        raise ApiError(400, "invalid_request", "`image` is missing: which one?", param="image")
    return image
