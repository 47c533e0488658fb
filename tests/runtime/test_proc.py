"""Who listens on a port, by both ways to ask the kernel."""

import os
import socket
import time
from pathlib import Path

import pytest

from proxyserver.runtime._proc import _ask_kernel, _read_tables, listeners_on, processor_s_of

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


def test_processor_time_of_processes() -> None:
    """It grows by what is computed, in seconds; who is not there took nothing."""
    began_s = time.process_time()
    before_s = processor_s_of([os.getpid()])
    while time.process_time() < began_s + 0.1:
        pass
    took_s = processor_s_of([os.getpid(), 1 << 30]) - before_s
    assert 0.05 < took_s < time.process_time() - began_s + 0.05
