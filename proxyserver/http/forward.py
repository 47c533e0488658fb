"""The data path: one admitted request to its upstream and the answer back.

Nothing is buffered: each piece goes on as it comes, and a slow reader slows its writer.  A request
whose body is here already needs one task; only where the body is still coming does a second one
send it, so that an early answer (a 413) is seen at once.
"""

import attrs
import trio

from proxyserver.wire import BadWire, Body, EndlessBody, Piece, ResponseHead, body_of

from ._exchange import ClientGone, Exchange
from ._held import Held
from ._peer import BUFFER
from ._rewriting import check_size
from .errors import ApiError, late_answer
from .upstream import UpstreamConnection, UpstreamConnections, UpstreamFault

INSTEAD_MAX = 16 * 1024
"""So much is read of an answer that is no stream, where one was begun."""
AT_ONCE_MAX = 64 * 1024
"""So much the kernel takes from us in one go, whatever the upstream does."""


@attrs.define(eq=False)
class Outgoing:
    """What is to be sent upstream."""

    data: bytes
    """The head, and what is held of the body, if that is little."""
    whole: bool
    """There is nothing to come from the client."""
    repeatable: bool
    """It may be sent twice: a mere question, or a completion, which changes nothing."""
    websocket: bool = False
    held: Held | None = None
    """The body, as far as it was held until its place was there."""
    in_pieces: bool = False
    """That follows: it is much, or on disk."""
    after: bytes = b""
    """What follows that."""

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more, to this run or another, and does no harm.

        All of it must still be here.  That is so where there is no body, and where the body was
        read to its end before its place was there: one by `model` of up to 1 MiB, and a larger one
        that had to be read to its end, or nearly, to find its model, in memory or on disk.  What
        streamed from the client is gone, and so is everything once an answer has begun.
        """
        return self.whole and self.repeatable

    def let_go(self) -> None:
        """Note that it is not needed any more: an answer may take an hour."""
        self.whole = False
        self.data = b""
        if self.held is not None:
            self.held.close()


async def forward(exchange: Exchange, connections: UpstreamConnections, outgoing: Outgoing) -> None:
    """Send the request to the upstream and its answer to the client.

    Raises:
        UpstreamFault: the upstream failed.  `exchange.status` tells whether a part of its answer
            has gone out; then the only honest end is to send no more, which aborts the body.
        ClientGone: the client left.  The upstream's connection is closed, so that it stops.
        ApiError: the rest of the client's body is not to be had.
    """
    connection = connections.acquire_nowait() or await connections.acquire()
    try:
        await _exchange(exchange, connections, connection, outgoing)
    except UpstreamFault as fault:
        # A kept connection may have died unheard: then it is sent again, once and afresh, if all
        # of it is still here and it can do no harm (RFC 9110, 9.2.2).
        if not (fault.silent and connection.used and outgoing.replayable):
            raise
        if fault.late:
            raise
        connection = await connections.acquire()
        await _exchange(exchange, connections, connection, outgoing)
    await (exchange.translation or exchange).end()


async def _exchange(
    exchange: Exchange,
    connections: UpstreamConnections,
    connection: UpstreamConnection,
    outgoing: Outgoing,
) -> None:
    """Do all but the end of the answer, so that it is not held up by a client still sending."""
    exchange.upstream = connection
    exchange.sent_at = trio.current_time()
    try:
        if outgoing.whole and not outgoing.in_pieces and len(outgoing.data) <= AT_ONCE_MAX:
            if await connection.send(outgoing.data):
                connection.sent()
            await _download(exchange, connection, outgoing)
        else:
            await _both(exchange, connection, outgoing)
    finally:
        exchange.upstream = None
        connections.release(connection)


async def _both(exchange: Exchange, connection: UpstreamConnection, outgoing: Outgoing) -> None:
    """Send and receive at the same time."""
    failures: list[UpstreamFault | ClientGone | ApiError] = []
    async with trio.open_nursery() as nursery:

        async def upload() -> None:
            try:
                await _upload(exchange, connection, outgoing)
            except (ClientGone, ApiError) as failure:
                failures.append(failure)
                nursery.cancel_scope.cancel()

        nursery.start_soon(upload)
        try:
            await _download(exchange, connection, outgoing)
        except (UpstreamFault, ClientGone, ApiError) as failure:
            failures.append(failure)
        # The answer is whole, or broken: nobody needs what is left of the request.
        nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def _upload(exchange: Exchange, connection: UpstreamConnection, outgoing: Outgoing) -> None:
    open_ = await connection.send(outgoing.data)
    if outgoing.in_pieces and outgoing.held is not None:
        async for piece in outgoing.held.pieces():
            open_ = open_ and await connection.send(piece)
        open_ = open_ and await connection.send(outgoing.after)
    while not outgoing.whole and not exchange.body_read:
        framed = await exchange.read_framed()
        if exchange.rules is not None:
            check_size(exchange)
        # When the upstream takes no more, the rest is read and thrown away: the answer decides.
        if framed and open_:
            open_ = await connection.send(framed)
    if open_:
        connection.sent()


async def _download(exchange: Exchange, connection: UpstreamConnection, outgoing: Outgoing) -> None:
    """Pass the answer on as it comes.

    Raises:
        UpstreamFault: it broke off, or is none.
        ClientGone: nobody takes it.
        ApiError: it is no stream, and one was begun.
    """
    method = exchange.head.method
    head, data = await connection.receive_head(method)
    while head.status < 200:
        if head.status == 101:
            if not outgoing.websocket:
                raise UpstreamFault("changed to a protocol that nobody asked for")
            await exchange.splice(head, data, connection)
            return
        # We have answered an `Expect` ourselves, so that 100 is nobody's.
        if head.status != 100:
            await exchange.inform(head)
        head, data = await connection.receive_head(method, data[head.size :])
    if connection.has_sent:
        outgoing.let_go()
    body = body_of(head.length)
    if exchange.told and not _goes_on(head):
        raise await _instead(connection, head, body, data)
    sink = exchange.translation or exchange
    pieces = sink.begin(head, body)
    relays = pieces is None and exchange.can_relay
    size, end = len(data), 0

    def step(size: int) -> bool:
        nonlocal end
        connection.moved = connection.spoke = True
        end = body.take(BUFFER, 0, size)
        return exchange.pass_on_nowait(BUFFER, 0, end) and not body.done

    try:
        end = body.take(data, head.size, size, pieces)
        await sink.pass_on(data, head.size, end)
        while not body.done:
            size = await connection.receive(step if relays else None)
            if size == 0:
                if isinstance(body, EndlessBody):
                    return
                raise connection.broken_off()
            if relays:
                await exchange.flush()
            else:
                end = body.take(BUFFER, 0, size, pieces)
                await sink.pass_on(BUFFER, 0, end)
    except BadWire as bad:
        raise UpstreamFault(f"sent {bad}") from bad
    # Bytes that nobody asked for must not answer the next request.
    connection.finish(reusable=head.keeps and end == size)


def _goes_on(head: ResponseHead) -> bool:
    """Tell whether an answer can go on with the stream that was begun while it was awaited."""
    kinds = head.known.get(b"content-type", ())
    return (
        head.status == 200
        and b"content-encoding" not in head.known
        and any(kind.startswith(b"text/event-stream") for kind in kinds)
    )


async def _instead(
    connection: UpstreamConnection, head: ResponseHead, body: Body, data: bytes
) -> ApiError:
    """Return what an answer says that comes too late to have a status of its own."""
    said = bytearray()
    buffer: bytes | bytearray = data
    start, size = head.size, len(data)
    while len(said) < INSTEAD_MAX:
        pieces: list[Piece] = []
        try:
            end = body.take(buffer, start, size, pieces)
        except BadWire as bad:
            raise UpstreamFault(f"sent {bad}") from bad
        said += b"".join(bytes(buffer[piece_start:piece_end]) for piece_start, piece_end in pieces)
        if body.done:
            connection.finish(reusable=head.keeps and end == size)
            break
        start, size = 0, await connection.receive()
        buffer = BUFFER
        if size == 0:
            break
    return late_answer(head.status, bytes(said[:INSTEAD_MAX]))
