"""The data path: one admitted request to its upstream and the answer back, byte for byte.

Built for correctness, behind `forward` alone, so that it can be rebuilt for speed.
Nothing is buffered: each piece goes on as it comes, and a slow reader slows its writer.
"""

import h11
import trio

from ._exchange import Exchange
from ._headers import to_client
from .upstream import UpstreamConnection, UpstreamConnections, UpstreamFault

REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that may be sent twice (RFC 9110, 9.2.1)."""
SEND_MAX = 64 * 1024


class ClientGone(Exception):
    """The client has left; there is nobody to answer."""


async def forward(
    exchange: Exchange,
    connections: UpstreamConnections,
    request: h11.Request,
    held: bytes | None,
) -> None:
    """Send the request to the upstream and its answer to the client.

    Args:
        exchange: The client's side.
        connections: The upstream's side.
        request: The head to send, framed for the body.
        held: The body, where it has been read already; None: it is streamed from the client.

    Raises:
        UpstreamFault: the upstream failed.  `exchange.status` tells whether a part of its answer
            has gone out; then the only honest end is to send no more, which aborts the body.
        ClientGone: the client left.  The upstream's connection is closed, so that it stops.
    """
    # A request on a kept connection that died unheard is sent again, once and afresh, if that
    # can do no harm: it is a mere question, or a completion (held), which changes nothing.
    connection = await connections.acquire()
    repeatable = held is not None or request.method.decode() in REPEATABLE
    try:
        await _exchange(exchange, connections, connection, request, held)
    except UpstreamFault as fault:
        unread = held is not None or exchange.bytes_in == 0
        if not (fault.silent and connection.used and repeatable and unread):
            raise
        connection = await connections.acquire(fresh=True)
        await _exchange(exchange, connections, connection, request, held)
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _exchange(
    exchange: Exchange,
    connections: UpstreamConnections,
    connection: UpstreamConnection,
    request: h11.Request,
    held: bytes | None,
) -> None:
    """Do all but the end of the answer, so that it is not held up by a client still sending."""
    fault: UpstreamFault | None = None
    try:
        open_ = await connection.send(request)
        if not _has_body(request):
            await connection.end_request()  # The answer may be here before the upload task runs.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_upload, exchange, connection, open_, held, nursery.cancel_scope)
            try:
                await _download(exchange, connection)
            except UpstreamFault as caught:
                fault = caught
            # The answer is whole, or broken: nobody needs what is left of the request.
            nursery.cancel_scope.cancel()
    finally:
        connections.release(connection)
    if exchange.gone:
        raise ClientGone
    if fault is not None:
        raise fault


async def _upload(
    exchange: Exchange,
    connection: UpstreamConnection,
    open_: bool,
    held: bytes | None,
    exchange_scope: trio.CancelScope,
) -> None:
    """Send the body, then watch the client; when it leaves, end the exchange."""
    if held is not None:
        for start in range(0, len(held), SEND_MAX):
            open_ = open_ and await connection.send(h11.Data(data=held[start : start + SEND_MAX]))
    while held is None and not exchange.body_read and not exchange.gone:
        message = await exchange.receive()
        body = message.get("body", b"")
        # When the upstream takes no more, the rest is read and thrown away: the answer decides.
        if body and open_:
            open_ = await connection.send(h11.Data(data=body))
    if open_ and not exchange.gone:
        await connection.end_request()
    while not exchange.gone:
        await exchange.receive()
    exchange_scope.cancel()


async def _download(exchange: Exchange, connection: UpstreamConnection) -> None:
    """Pass the answer on as it comes.

    Raises:
        UpstreamFault: it broke off.
    """
    head = await connection.receive()
    assert isinstance(head, h11.Response)
    headers = to_client(head.headers.raw_items())
    await exchange.send(
        {"type": "http.response.start", "status": head.status_code, "headers": headers}
    )
    while isinstance(event := await connection.receive(), h11.Data):
        await exchange.send(
            {"type": "http.response.body", "body": bytes(event.data), "more_body": True}
        )


def _has_body(request: h11.Request) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers)
