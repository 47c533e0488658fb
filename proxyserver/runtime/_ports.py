"""Ports on the loopback interface: which are free."""

import errno
import socket
from collections.abc import Collection

from proxycore import Cause

from ._holders import holder_of
from ._protocol import RuntimeFault

LOOPBACK = "127.0.0.1"


def free_port(given: Collection[int] = ()) -> int:
    """Return a free port that is not one of those given to others, who may not listen yet.

    Raises:
        RuntimeFault: there is none.
    """
    for _ in range(len(given) + 1):
        with socket.socket() as listener:
            listener.bind((LOOPBACK, 0))
            port: int = listener.getsockname()[1]
        if port not in given:
            return port
    raise RuntimeFault(Cause("port_in_use", "the machine has no free port left"))


def check_port_free(port: int) -> None:
    """Check that nobody listens where we shall look for our own server.

    Raises:
        RuntimeFault: somebody does.
    """
    with socket.socket() as listener:
        # As servers do: connections of the last run that still linger do not matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            message = (
                taken(port, holder_of(port))
                if error.errno == errno.EADDRINUSE
                else f"port {port} cannot be used: {error.strerror}"
            )
            raise RuntimeFault(Cause("port_in_use", message)) from error


def taken(port: int, holder: str) -> str:
    """Say that a port is taken, and what to do; `holder` is what `holder_of` says."""
    return f"port {port} is taken{holder}: stop what listens there or choose another port"
