"""Who listens on a port, by both ways to ask the kernel."""

import socket
from pathlib import Path

import pytest

from proxyserver.runtime._proc import _ask_kernel, _read_tables, listeners_on

ADDRESSES = [
    (socket.AF_INET, "127.0.0.1", True),
    (socket.AF_INET, "0.0.0.0", True),
    (socket.AF_INET, "127.0.0.2", False),
    (socket.AF_INET6, "::", True),
    (socket.AF_INET6, "::ffff:127.0.0.1", True),
    (socket.AF_INET6, "::1", False),
]


@pytest.mark.parametrize(("family", "address", "reached"), ADDRESSES)
def test_listener(family: socket.AddressFamily, address: str, reached: bool) -> None:
    """A listener is found by its inode, if a connection to 127.0.0.1 may end there."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, 0))
        port = listener.getsockname()[1]
        assert listeners_on(port) == frozenset(), "bound, not yet listening"
        listener.listen()
        inode = listener_inode(listener)
        assert listeners_on(port) == (frozenset([inode]) if reached else frozenset())
        raw = socket.inet_pton(family, address)
        assert list(_ask_kernel(port)) == list(_read_tables(port)) == [(raw, inode)]


def listener_inode(listener: socket.socket) -> int:
    link = str(Path(f"/proc/self/fd/{listener.fileno()}").readlink())
    return int(link.removeprefix("socket:[").removesuffix("]"))
