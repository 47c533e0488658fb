"""Sockets below Trio's streams: what is promised of reading, writing, waiting and closing."""

import socket
from functools import partial

import pytest
import trio
import trio.testing

from proxyserver.http import _peer
from proxyserver.http._peer import BUFFER, KEPT_MAX, SMALL, Peer

from .rig import PATIENCE_S


def pair() -> tuple[Peer, socket.socket]:
    near, far = socket.socketpair()
    return Peer(near), far


async def test_what_comes_is_read_and_its_end() -> None:
    """At once, after a wait, and when the other side ends while something is still unread."""
    peer, far = pair()
    with far:
        far.send(b"one")
        assert bytes(BUFFER[: await peer.receive()]) == b"one"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_later, far, b"two")
            assert bytes(BUFFER[: await peer.receive()]) == b"two"
        far.send(b"three")
    assert bytes(BUFFER[: await peer.receive()]) == b"three"
    assert await peer.receive() == 0
    peer.close()


async def _send_later(far: socket.socket, data: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    far.send(data)


async def test_a_full_buffer_gives_others_their_turn() -> None:
    """However much there is to be read."""
    peer, far = pair()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        left = 4 * len(BUFFER)
        nursery.start_soon(trio.SocketStream(_trio(far)).send_all, bytes(left))
        while left:
            before = turns
            left -= await peer.receive()
            assert turns > before
        nursery.cancel_scope.cancel()
    peer.close()
    far.close()


def _trio(sock: socket.socket) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(sock)


async def test_what_is_not_taken_waits_and_arrives() -> None:
    """All of it, in order, while the buffer is used for something else."""
    peer, far = pair()
    data = bytes(range(256)) * 8192
    got = b""

    async def take() -> None:
        nonlocal got
        stream = trio.SocketStream(_trio(far))
        while len(got) < len(data):
            BUFFER[:4] = b"else"
            got += await stream.receive_some(10_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await peer.send(memoryview(data))
    assert got == data
    assert (peer.stuck_since, _peer.Kept.total) == (None, 0)
    peer.close()
    far.close()


async def test_less_is_read_while_much_is_kept() -> None:
    """So that many slow readers together do not take all memory."""
    peer, far = pair()
    far.send(bytes(2 * SMALL))
    _peer.Kept.total = KEPT_MAX
    try:
        assert await peer.receive() == SMALL
    finally:
        _peer.Kept.total = 0
    assert await peer.receive() == SMALL
    peer.close()
    far.close()


@pytest.mark.parametrize("waits", ["reading", "writing"])
async def test_closing_wakes_who_waits(waits: str) -> None:
    """With an error of its own, so that he knows who did it."""
    peer, far = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_close_later, peer)
        wait = peer.receive if waits == "reading" else partial(peer.send, bytes(10_000_000))
        with trio.fail_after(PATIENCE_S), pytest.raises(trio.ClosedResourceError):
            await wait()
    with pytest.raises(trio.ClosedResourceError):
        await peer.receive()
    with pytest.raises(trio.ClosedResourceError):
        await peer.send(b"x")
    peer.close()
    far.close()


async def _close_later(peer: Peer) -> None:
    await trio.testing.wait_all_tasks_blocked()
    peer.close()


async def test_cancelling_leaves_nothing_behind() -> None:
    """Who waited and was cancelled is not woken by what comes later."""
    peer, far = pair()
    with trio.move_on_after(0):
        await peer.receive()
    far.send(b"x")
    assert await peer.receive() == 1
    peer.close()
    far.close()


async def test_a_number_that_is_used_again_is_watched_anew() -> None:
    """A descriptor belongs to the next connection as soon as it is closed."""
    gone, again = trio.Event(), trio.Event()
    near, far = socket.socketpair()
    number = near.fileno()
    Peer(near, gone.set).close()
    far.close()
    near, far = socket.socketpair()
    assert number in (near.fileno(), far.fileno())
    if near.fileno() != number:
        near, far = far, near
    peer = Peer(near, again.set)
    far.close()
    with trio.fail_after(PATIENCE_S):
        await again.wait()
    assert not gone.is_set()
    peer.close()


async def test_leaving_is_told_before_everything_is_read() -> None:
    """A client whose next request is unread has left all the same."""
    gone = trio.Event()
    near, far = socket.socketpair()
    peer = Peer(near, gone.set)
    far.send(b"unread")
    far.close()
    with trio.fail_after(PATIENCE_S):
        await gone.wait()
    assert bytes(BUFFER[: await peer.receive()]) == b"unread"
    peer.close()


async def test_a_connection_that_ended_unasked_is_stale() -> None:
    """So is one that has spoken unasked; a quiet one is not."""
    peer, far = pair()
    assert not peer.readable()
    far.send(b"x")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert peer.readable()
    assert await peer.receive() == 1
    assert not peer.readable()
    far.close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert peer.readable()
    peer.close()
    assert peer.readable()


async def test_what_is_relayed_wakes_no_task_until_it_is_its_turn() -> None:
    """Each piece is taken as it comes; who waits goes on after the one that was the last."""
    peer, far = pair()
    taken: list[bytes] = []
    sizes: list[int] = []
    came = trio.Event()

    def step(size: int) -> bool:
        taken.append(bytes(BUFFER[:size]))
        came.set()
        return taken[-1] != b"enough"

    async def relay() -> None:
        sizes.append(await peer.relay(step))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay)
        for piece in (b"one", b"two", b"enough"):
            await trio.testing.wait_all_tasks_blocked()
            assert sizes == []
            came = trio.Event()
            far.send(piece)
            with trio.fail_after(PATIENCE_S):
                await came.wait()
    assert (taken, sizes) == ([b"one", b"two", b"enough"], [6])
    far.send(b"more")
    assert await peer.receive() == 4
    peer.close()
    far.close()


async def test_after_a_full_buffer_it_is_the_turn_of_the_task() -> None:
    """So that others have theirs; nothing is lost, and the end is told."""
    peer, far = pair()
    left = 3 * len(BUFFER) + 5
    got = 0

    def step(size: int) -> bool:
        nonlocal got
        got += size
        return True

    async def send() -> None:
        stream = trio.SocketStream(_trio(far))
        await stream.send_all(bytes(left))
        await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.fail_after(PATIENCE_S):
            while await peer.relay(step):
                pass
    assert got == left
    peer.close()
    far.close()


@pytest.mark.parametrize(
    ("happens", "error"),
    [
        ("the step fails", ZeroDivisionError),
        ("it is closed", trio.ClosedResourceError),
        ("the peer resets", trio.BrokenResourceError),
    ],
)
async def test_a_relay_ends_with_its_error(happens: str, error: type[Exception]) -> None:
    """In the task that waits for it, and nowhere else."""
    peer, far = pair()

    def step(size: int) -> bool:
        return 1 // (size - 1) > 0  # One byte is one too few.

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(error):
                await peer.relay(step)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        if happens == "it is closed":
            peer.close()
        elif happens == "the step fails":
            far.send(b"x")
        else:
            peer.send_nowait(b"unread")  # Closing on that is a reset.
            far.close()
    peer.close()
    far.close()


async def test_a_relay_that_is_cancelled_takes_no_more() -> None:
    """What comes later is for whoever reads next."""
    peer, far = pair()
    with trio.move_on_after(0.01):
        await peer.relay(lambda size: pytest.fail("nobody waits"))
    far.send(b"x")
    await trio.sleep(0.01)
    assert await peer.receive() == 1
    peer.close()
    far.close()


async def test_what_was_kept_goes_before_what_is_sent_next() -> None:
    """Though who waited for it has given up; and what is kept is accounted for."""
    peer, far = pair()
    far.setblocking(True)
    first = b"a" * 10_000_000
    assert not peer.send_nowait(first)
    with trio.move_on_after(0.01):
        await peer.flush()
    assert 0 < _peer.Kept.total < len(first)
    assert not peer.send_nowait(b"b")
    peer.send_last(b"c")  # In the middle of another word it would be none.
    got = bytearray()

    def take() -> None:
        while len(got) <= len(first):
            got.extend(far.recv(1 << 20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, take)
        await peer.flush()
    assert got == first + b"b"
    assert _peer.Kept.total == 0
    assert not peer.send_nowait(first)
    peer.close()
    assert _peer.Kept.total == 0
    far.close()
