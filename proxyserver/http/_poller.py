"""One edge-triggered epoll for all sockets of the data path, awaited by one task.

Trio's own way to wait for a socket asks the kernel twice for each wait; here a socket is registered
once in its life, and whoever waits for it is scheduled by hand.  So a request costs a third less,
and a client that leaves is seen at once without anything being asked (`EPOLLRDHUP`).
"""

import select
from typing import Protocol

import trio

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Polled(Protocol):
    """Who is told what has happened to a socket."""

    def happened(self, events: int) -> None:
        """Take note; it must return at once."""


class Poller:
    """Tells of the sockets that are added to it, as long as the Trio run lasts."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._polled: dict[int, Polled] = {}

    def add(self, descriptor: int, polled: Polled) -> None:
        """Tell of a socket until it is removed."""
        self._polled[descriptor] = polled
        self._epoll.register(descriptor, _EVENTS)

    def remove(self, descriptor: int) -> None:
        """Tell no more; to be called before the socket is closed, for its number is used again."""
        if self._polled.pop(descriptor, None) is not None and not self._epoll.closed:
            self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Tell for ever."""
        epoll, polled = self._epoll, self._polled
        with epoll:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for descriptor, events in epoll.poll(0):
                    if (one := polled.get(descriptor)) is not None:
                        one.happened(events)


_RUN: trio.lowlevel.RunVar[Poller] = trio.lowlevel.RunVar("poller")


def poller() -> Poller:
    """Return the poller of this Trio run."""
    try:
        return _RUN.get()
    except LookupError:
        made = Poller()
        _RUN.set(made)
        trio.lowlevel.spawn_system_task(made.run)
        return made
