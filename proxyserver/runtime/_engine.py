"""The line to one container engine: short calls through the docker SDK, in threads.

Calls that last go through `EngineSocket`, since a thread cannot be cancelled.
"""

import os
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

import docker
import requests
import trio
import urllib3
from docker.errors import APIError, DockerException

from proxycore import Cause

from ._engine_socket import EngineSocket
from ._exits import explain
from ._logs import clean_line
from ._protocol import RuntimeUnreachable

T = TypeVar("T")

DEFAULT_HOST = "unix:///var/run/docker.sock"
CALL_S = 60
"""How long one short call may take; a start waits for the engine to set up networks and disks."""
THREADS_MAX = 16
RETRIES_S = (0.1, 0.3, 1.0)

# The SDK lets the errors of all the layers below it through.
_NO_ANSWER = (
    DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)


class Engine:
    """Asks one engine, in threads of its own.

    Args:
        docker_host: where it is; None: where DOCKER_HOST says, or the usual socket.
    """

    def __init__(self, docker_host: str | None) -> None:
        self.host = docker_host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        # Our own: a call of a minute must not take a thread from name look-ups and files.
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self._client: docker.DockerClient | None = None
        self._connecting = threading.Lock()
        self._close_client: Callable[[], object] = lambda: None

    async def ask(self, call: Callable[[docker.DockerClient], T]) -> T:
        """Make a call that a sound engine never refuses: one that does is as good as gone.

        Raises:
            RuntimeUnreachable: it cannot be reached, or has only errors for answers.
        """
        try:
            return await self.retried(lambda: self.sdk(call))
        except APIError as error:
            raise self.unreachable(error) from error

    async def retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated, again after errors that may pass.

        Raises:
            APIError: the engine refuses, for good.
            RuntimeUnreachable: it cannot be reached.
        """
        for pause_s in RETRIES_S:
            try:
                return await attempt()
            except RuntimeUnreachable:
                pass
            except APIError as error:
                known = explain([str(error.explanation)])
                if error.status_code is None or error.status_code < 500 or known is not None:
                    raise
            await trio.sleep(pause_s)
        return await attempt()

    async def sdk(self, call: Callable[[docker.DockerClient], T]) -> T:
        """Make a call once.

        Raises:
            APIError: the engine refuses.
            RuntimeUnreachable: it cannot be reached.
        """

        def in_thread() -> T:
            return call(self._connect())

        try:
            return await trio.to_thread.run_sync(
                in_thread, limiter=self._limiter, abandon_on_cancel=True
            )
        except APIError:
            raise
        except _NO_ANSWER as error:
            raise self.unreachable(error) from error

    def _connect(self) -> docker.DockerClient:
        # The SDK leaks a socket whenever it cannot connect to one, and hides the reason.
        scheme, _, path = self.host.partition("://")
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.settimeout(CALL_S)
                attempt.connect(path)
        with self._connecting:
            client = self._client  # Which others may set to None at any time.
            if client is None:
                client = self._client = docker.DockerClient(base_url=self.host, timeout=CALL_S)
                self._close_client = weakref.finalize(self, client.close)
            return client

    async def socket(self) -> EngineSocket:
        """Return what makes calls that last.

        Raises:
            RuntimeUnreachable: the engine does not even tell its version.
        """
        version = await self.sdk(lambda client: str(client.api.api_version))
        return EngineSocket(self.host, version)

    def unreachable(self, error: Exception) -> RuntimeUnreachable:
        """Return what is said of an engine that does not answer; the next call connects anew."""
        self._close_client()  # The engine may come back as another version.
        self._client = None
        reason = clean_line(str(error).replace("\n", " "))
        message = f"the container engine at {self.host} cannot be reached: {reason}. "
        if "Permission denied" in reason:
            message += "May this user use it (`sudo usermod -aG docker $USER`, then log in anew)?"
        else:
            message += "Is it running (`systemctl start docker`)?"
        return RuntimeUnreachable(Cause("engine_unreachable", message))
