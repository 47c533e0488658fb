"""A client of the container engine's API over Trio, for calls that last.

The docker SDK blocks a thread for as long as a call lasts, and a thread cannot be cancelled.
That is well for calls of milliseconds.  Following a log, waiting for an exit and a stop with its
grace last for minutes or days, one of each for every service: they would use up the threads and
outlive their cancellation.  Here each is one connection, closed when its task is cancelled.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

import attrs
import h11
import trio

from ._logs import LineSplitter

READ_BYTES = 64 * 1024
ERROR_BYTES_MAX = 64 * 1024
FRAME_HEAD = 8
CONNECT_S = 10.0

Headers = Sequence[tuple[str, str]]


class EngineLost(Exception):
    """The engine cannot be reached, or hung up in the middle of an answer."""


class EngineRefused(Exception):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@attrs.frozen
class EngineSocket:
    """Speaks to one engine, a new connection for each call."""

    host: str
    """As in DOCKER_HOST: `unix:///path` or `tcp://name:port`."""
    api_version: str

    async def call(self, method: str, path: str, **query: str) -> bytes:
        """Make a call and return the whole answer, which must be small.

        Raises:
            EngineLost: no answer, or half of one.
            EngineRefused: an error for an answer.
        """
        answer = bytearray()
        async with self.stream(method, path, **query) as pieces:
            async for piece in pieces:
                answer += piece
        return bytes(answer)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, more_headers: Headers = (), /, **query: str
    ) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Make a call and read its answer piece by piece, as it comes.

        Hanging up in the middle ends what the engine does for it.

        Raises:
            EngineLost: no answer, or half of one.
            EngineRefused: an error for an answer.
        """
        async with await self._connect() as stream:
            connection = h11.Connection(h11.CLIENT)
            target = f"/v{self.api_version}{path}" + (f"?{urlencode(query)}" if query else "")
            headers = [("Host", "engine"), ("Connection", "close"), ("Content-Length", "0")]
            headers += more_headers
            request = connection.send(h11.Request(method=method, target=target, headers=headers))
            ending = connection.send(h11.EndOfMessage())
            assert request is not None
            assert ending is not None
            try:
                await stream.send_all(request + ending)
            except trio.BrokenResourceError as error:
                raise EngineLost(f"the engine at {self.host} hung up") from error
            event = await self._next_event(connection, stream)
            while isinstance(event, h11.InformationalResponse):
                event = await self._next_event(connection, stream)
            assert isinstance(event, h11.Response)
            pieces = self._pieces(connection, stream)
            if event.status_code >= 400:
                raise EngineRefused(event.status_code, await _error_message(pieces))
            async with contextlib.aclosing(pieces):
                yield pieces

    async def _connect(self) -> trio.abc.Stream:
        parts = urlsplit(self.host)
        try:
            with trio.fail_after(CONNECT_S):
                if parts.scheme == "unix":
                    return await trio.open_unix_socket(parts.path)
                if parts.scheme in ("tcp", "http") and parts.hostname and parts.port:
                    return await trio.open_tcp_stream(parts.hostname, parts.port)
        except (OSError, trio.TooSlowError) as error:
            raise EngineLost(f"the engine at {self.host} cannot be reached: {error}") from error
        raise EngineLost(f"DOCKER_HOST {self.host!r} is neither unix:///path nor tcp://name:port")

    async def _next_event(self, connection: h11.Connection, stream: trio.abc.Stream) -> h11.Event:
        while True:
            try:
                event = connection.next_event()
                if event is not h11.NEED_DATA:
                    assert isinstance(event, h11.Event)
                    return event
                connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))
            except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
                raise EngineLost(f"the engine at {self.host} hung up: {error}") from error

    async def _pieces(
        self, connection: h11.Connection, stream: trio.abc.Stream
    ) -> AsyncGenerator[bytes, None]:
        while isinstance(event := await self._next_event(connection, stream), h11.Data):
            yield bytes(event.data)


async def _error_message(pieces: AsyncIterator[bytes]) -> str:
    answer = bytearray()
    async for piece in pieces:
        answer += piece
        if len(answer) > ERROR_BYTES_MAX:
            break
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(answer)["message"])
    return answer.decode(errors="replace")


async def log_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the lines of a container's log.

    The two outputs come in frames: one byte says which, four say how long (Docker Engine API,
    "Stream format").  Each has its own unfinished line.
    """
    splitters: dict[int, LineSplitter] = {}
    buffer = bytearray()
    output, left = 0, 0
    async for piece in pieces:
        buffer += piece
        while buffer:
            if not left:
                if len(buffer) < FRAME_HEAD:
                    break
                output, left = buffer[0], int.from_bytes(buffer[4:FRAME_HEAD], "big")
                del buffer[:FRAME_HEAD]
            data = bytes(buffer[:left])
            del buffer[:left]
            left -= len(data)
            for line in splitters.setdefault(output, LineSplitter()).feed(data):
                yield line
    for splitter in splitters.values():
        for line in splitter.end():
            yield line
