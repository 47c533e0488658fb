"""An answer of lines that come when they come: logs, progress."""

from collections.abc import AsyncGenerator, AsyncIterator

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CLOSE_S = 1.0


class Lines(Response):
    """Lines as they come; the source is closed at once when the client leaves."""

    media_type = "text/plain"

    def __init__(self, lines: AsyncIterator[str], media_type: str | None = None) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for line in self._lines:
                body = f"{line}\n".encode("utf-8", "replace")
                await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            if isinstance(self._lines, AsyncGenerator):
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                    await self._lines.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
