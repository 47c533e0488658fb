"""Where clients are waited for: addresses of this machine, perhaps with TLS; UNIX sockets."""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import attrs
import trio

from proxyserver.certificates import Certificate
from proxyserver.runtime import holder_of

BACKLOG = 4096
"""The kernel takes less if it is set so (net.core.somaxconn)."""
PATH_MAX = 107
"""What the kernel has room for (unix(7))."""


class ListenError(Exception):
    """The address cannot be listened on."""


@attrs.frozen
class TcpPlace:
    host: str
    port: int
    """0: any free one."""
    certificate: Certificate | None = None
    """None: plain HTTP."""
    setting: str = "server.port"
    """What to change if the port is taken."""


@attrs.frozen
class UnixPlace:
    path: Path
    mode: int = 0o600
    """Who may connect: those who may write to it."""


Place: TypeAlias = TcpPlace | UnixPlace


@attrs.define(eq=False)
class Listening:
    """A place that is listened at."""

    listeners: list[trio.SocketListener]
    certificate: Certificate | None
    url: str
    """How clients reach it."""
    _path: Path | None = None
    _inode: int = 0

    def close(self) -> None:
        """Let nobody in any more; a second time does nothing."""
        if self._path is not None:
            with suppress(OSError):
                # Whoever has put another one there meanwhile wants to keep it.
                if self._path.lstat().st_ino == self._inode:
                    self._path.unlink()
            self._path = None
        for listener in self.listeners:
            listener.socket.close()


async def listen(place: Place) -> Listening:
    """Begin to listen.

    Raises:
        ListenError: the address is taken, or not ours.
    """
    return await _tcp(place) if isinstance(place, TcpPlace) else _unix(place)


async def _tcp(place: TcpPlace) -> Listening:
    host, port = place.host, place.port
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            who = await trio.to_thread.run_sync(holder_of, port)
            raise ListenError(
                f"port {port} of {host} is taken{who}; stop what listens there,"
                f" or set {place.setting}"
            ) from error
        setting = place.setting.replace("port", "host")
        raise ListenError(f"cannot listen on {host}:{port}: {error}; see {setting}") from error
    host, port = listeners[0].socket.getsockname()[:2]
    scheme = "http" if place.certificate is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return Listening(listeners, place.certificate, url)


def _unix(place: UnixPlace) -> Listening:
    path = place.path
    if len(os.fsencode(path)) > PATH_MAX:
        raise ListenError(
            f"cannot listen on {path}: paths of sockets have at most {PATH_MAX} bytes;"
            " choose another server.socket"
        )
    _make_way(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        # Nobody is let in before it listens, and so nobody by the umask.
        path.chmod(place.mode)
        sock.listen(BACKLOG)
        inode = path.lstat().st_ino
    except OSError as error:
        sock.close()
        why = error.strerror
        raise ListenError(f"cannot listen on {path}: {why}; see server.socket") from error
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    return Listening([listener], None, f"unix:{path}", path, inode)


def _make_way(path: Path) -> None:
    """Remove the socket of a daemon that died.

    Raises:
        ListenError: it lives, or this is no socket.
    """
    try:
        kind = path.lstat().st_mode
    except OSError:
        return  # Nothing is there, or binding will say what is wrong.
    if not stat.S_ISSOCK(kind):
        raise ListenError(f"{path} is there, and no socket; remove it, or set server.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with suppress(OSError):
                path.unlink()
            return
        except OSError as error:
            raise ListenError(
                f"cannot tell who listens on {path}: {error.strerror or error}; see server.socket"
            ) from error
    raise ListenError(f"another process listens on {path}; stop it, or set server.socket")
