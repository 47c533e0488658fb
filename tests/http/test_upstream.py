"""How long a service may keep us waiting, told by a sweep that is told the time."""

import socket

import pytest
import trio
import trio.testing

from proxyserver.http._peer import Peer
from proxyserver.http.upstream import (
    Patience,
    UpstreamConnection,
    UpstreamConnections,
    UpstreamFault,
)
from proxyserver.runtime import Endpoint

PATIENCE = Patience(first_byte_s=5.0, stall_s=3.0, total_s=20.0)


def pair() -> tuple[UpstreamConnection, socket.socket]:
    near, far = socket.socketpair()
    return UpstreamConnection(Peer(near)), far


async def test_what_is_not_waited_for_does_not_count() -> None:
    """While a slow client takes its time, nothing is read: that is not the service's fault."""
    connection, far = pair()
    far.send(b"x")
    await connection.receive()
    connection.answering = True
    for now in range(15):
        connection.sweep(now, 0.0, PATIENCE)
    far.send(b"y")
    assert await connection.receive() == 1
    connection.close()
    far.close()


@pytest.mark.parametrize(("answering", "limit_s"), [(False, 5), (True, 3)])
async def test_silence_counts_from_the_last_sign_of_life(answering: bool, limit_s: int) -> None:
    """Before the answer longer than within it; then whoever waits learns that it was too long."""
    connection, far = pair()
    connection.answering = answering
    faults: list[UpstreamFault] = []

    async def wait() -> None:
        await connection.receive()
        try:
            await connection.receive()
        except UpstreamFault as fault:
            faults.append(fault)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        connection.sweep(100.0, 99.0, PATIENCE)
        connection.sweep(99.0 + limit_s, 99.0, PATIENCE)
        far.send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        for second in range(limit_s):
            connection.sweep(102.0 + second, 99.0, PATIENCE)
            await trio.testing.wait_all_tasks_blocked()
            assert faults == []
        connection.sweep(102.0 + limit_s, 99.0, PATIENCE)
    assert [fault.late for fault in faults] == [True]
    far.close()


async def test_nothing_takes_longer_than_all_may() -> None:
    """However lively it is."""
    connection, far = pair()
    connection.sweep(19.0, 0.0, PATIENCE)
    connection.sweep(20.0, 0.0, PATIENCE)
    with pytest.raises(UpstreamFault, match="within 20 s") as fault:
        await connection.receive()
    assert fault.value.late
    far.close()


async def test_connections_tell_whether_anybody_was_answered() -> None:
    """By one that lasts or one that was given back; asked again only what came since."""
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                while await stream.receive_some():
                    await stream.send_all(b"x")

        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        connections = UpstreamConnections(
            Endpoint("127.0.0.1", listeners[0].socket.getsockname()[1])
        )
        connection = await connections.acquire()
        await connection.send(b"?")
        assert not connections.has_spoken()
        await connection.receive()
        assert (connections.has_spoken(), connections.has_spoken()) == (True, False)
        await connection.send(b"?")
        await connection.receive()
        connections.release(connection)
        assert (connections.has_spoken(), connections.has_spoken()) == (True, False)
        nursery.cancel_scope.cancel()
