"""The stream of what the proxy decides, as server-sent events."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.requests import Request
from starlette.responses import Response

from proxycore import ServiceId
from proxyserver.decisions import Decisions

from ._lines import Lines
from ._query import parsed
from .inference import Inference

QUIET_S = 15.0
"""A stream on which nothing comes for so long has a comment, so that nobody thinks it dead."""


class EventApi:
    """Answers with what is decided from now on, or from some event on."""

    def __init__(self, decisions: Decisions, inference: Inference) -> None:
        self._decisions = decisions
        self._inference = inference

    async def stream(self, request: Request) -> Response:
        """Begin a stream.

        Raises:
            ApiError: there is no such service, or the number is none.
        """
        name = request.query_params.get("service")
        service = None if name is None else self._inference.route("service", name).service
        last = self._decisions.last
        after = parsed(request, "after", last, _number, "the number of an event")
        with suppress(ValueError):  # What is no number is ignored, as browsers expect.
            after = _number(request.headers.get("last-event-id", ""))
        # A number greater than ours is of an earlier life of the daemon: all of this one is new.
        return Lines(self._lines(after if after <= last else 0, service), "text/event-stream")

    async def _lines(self, after: int, service: ServiceId | None) -> AsyncGenerator[str, None]:
        yield ": what is decided from now on\n"
        async with aclosing(self._decisions.follow(after, QUIET_S)) as decisions:
            async for one in decisions:
                if one is None:
                    yield ":\n"
                elif service is None or one.concerns(service):
                    told = json.dumps(one.as_json())
                    yield f"id: {one.number}\nevent: {one.kind.value}\ndata: {told}\n"


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise ValueError
    return int(text)
