"""Servers started and stopped as plainly as it goes: what the proxy is compared with."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import docker

from proxycore import Placement, RunId
from proxyserver.runtime import LaunchSpec, ProcessSpec
from proxyserver.runtime._containers import Inspected, Owner, create_arguments

GRACE_S = 10


class Server(Protocol):
    """One that runs."""

    port: int

    def stop(self) -> None:
        """End it; return when it is gone."""

    def remove(self) -> None:
        """Remove what it left, which nobody waits for."""


class Starter(Protocol):
    """Starts servers; returns when their port is known."""

    def __call__(self, launch: LaunchSpec) -> Server: ...


class _Process:
    def __init__(self, launch: LaunchSpec) -> None:
        what = launch.what
        assert isinstance(what, ProcessSpec)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        port = str(self.port)
        self._process = subprocess.Popen(
            [word.replace("${PORT}", port) for word in what.command],
            env=os.environ
            | {name: text.replace("${PORT}", port) for name, text in what.environment},
            cwd=what.working_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(GRACE_S)

    def remove(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class _Container:
    def __init__(self, client: docker.DockerClient, launch: LaunchSpec, number: int) -> None:
        owner = Owner("by-hand", launch.service, RunId(number))
        # The very container that the proxy would make: what is compared is the way there.
        arguments = create_arguments(owner, launch, Placement.of(()))
        self._api = client.api
        self._id = str(client.containers.create(**arguments).id)
        self._api.start(self._id)
        endpoint = Inspected(self._api.inspect_container(self._id)).endpoint
        assert endpoint is not None
        self.port = endpoint.port

    def stop(self) -> None:
        self._api.stop(self._id, timeout=GRACE_S)

    def remove(self) -> None:
        self._api.remove_container(self._id, force=True)


@contextmanager
def starter(docker_host: str | None) -> Iterator[Starter]:
    """Start processes, or containers on an engine; whatever still runs in the end is removed."""
    with contextlib.ExitStack() as stack:
        if docker_host is None:
            yield _Process
            return
        client = stack.enter_context(
            contextlib.closing(docker.DockerClient(base_url=docker_host, timeout=60))
        )
        numbers = iter(range(1, 1000000))
        yield lambda launch: _Container(client, launch, next(numbers))
