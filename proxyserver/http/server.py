"""The listening side: accepts clients, bounds what they may do, and ends in good order."""

import resource
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from socket import socket

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from loguru import logger

from proxyserver.certificates import Certificate
from proxyserver.wire import HEAD_MAX

from ._client_side import IDLE_S
from ._lanes import Lanes
from ._places import Listening, Place, listen
from ._poller import poller
from .asgi import App
from .errors import ApiError

CONNECTIONS_MAX = 4096
DESCRIPTORS_KEPT = 128
"""File descriptors that are left for logs, engines, services."""


async def serve(
    app: App,
    places: Sequence[Place],
    *,
    stop: trio.Event,
    drain_s: Callable[[], float],
    connections_max: int | None = None,
    fast: bool = True,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop`, then let answers finish for up to `drain_s()`; return when all is closed.

    The task is started with the URLs that clients reach it by, in the order of places.  More than
    `connections_max` clients at once (None: as many as the limit of open files allows) are answered
    503 and closed.  Without the `fast` lane everything goes by hypercorn; answers are the same.

    Raises:
        ListenError: an address is taken, or not ours.
    """
    with ExitStack() as stack:
        open_places = []
        for place in places:
            open_places.append(await listen(place))
            stack.callback(open_places[-1].close)
        await _serve(app, open_places, stop, drain_s, connections_max, fast, task_status)


async def _serve(
    app: App,
    places: Sequence[Listening],
    stop: trio.Event,
    drain_s: Callable[[], float],
    connections_max: int | None,
    fast: bool,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    config = Config()
    config.errorlog = None  # The application catches and reports everything itself.
    config.include_server_header = False
    config.include_date_header = False
    config.h11_max_incomplete_size = HEAD_MAX
    config.h11_pass_raw_headers = True
    config.keep_alive_timeout = IDLE_S
    context = WorkerContext(None)
    poller()  # Now, while there are descriptors to be had.
    lanes = Lanes(app, config, context, fast=fast)
    limiter = trio.CapacityLimiter(connections_max or _connections_max())

    async def handle(certificate: Certificate | None, stream: trio.SocketStream) -> None:
        try:
            limiter.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            await _turn_away(stream, secure=certificate is not None)
            return
        try:
            await lanes.serve(socket(fileno=stream.socket.detach()), certificate)
        except Exception:
            # A bug of the protocol code, most likely provoked; it must not take the others along.
            logger.opt(exception=True).warning("a connection ended by a bug of the proxy")
        finally:
            limiter.release_on_behalf_of(stream)

    async with trio.open_nursery() as watching:
        watching.start_soon(lanes.sweep)
        watching.start_soon(app.handling.sweep)
        async with trio.open_nursery() as clients:
            async with trio.open_nursery() as accepting:
                for place in places:
                    take = partial(handle, place.certificate)
                    accepting.start_soon(
                        partial(
                            trio.serve_listeners, take, place.listeners, handler_nursery=clients
                        )
                    )
                task_status.started([place.url for place in places])
                await stop.wait()
                accepting.cancel_scope.cancel()
            for place in places:
                place.close()
            lanes.end()
            await context.terminated.set()  # The same, on the lane of hypercorn.
            clients.cancel_scope.deadline = trio.current_time() + drain_s()
        watching.cancel_scope.cancel()


def _connections_max() -> int:
    """Each connection may need a second descriptor, to its upstream."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(CONNECTIONS_MAX, (descriptors - DESCRIPTORS_KEPT) // 2))


async def _turn_away(stream: trio.SocketStream, *, secure: bool) -> None:
    if secure:  # Handshakes are just what there is no room for.
        stream.socket.close()
        return
    body = ApiError(503, "server_busy", "too many connections; try again soon").encoded()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    with trio.move_on_after(1.0):
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.receive_some()  # Closing on unread bytes would take the answer back.
                await stream.send_all(head.encode() + body)
