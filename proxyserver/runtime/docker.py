"""The docker runtime: services as containers.

Short calls go through the docker SDK in threads, calls that last through `_engine_socket`.
The engine keeps all state: what is ours is known by its labels, so nothing is lost with us.
"""

import contextlib
import math
import os
import socket
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import docker
import requests
import trio
import urllib3
from docker.errors import APIError, DockerException
from docker.utils import parse_repository_tag

from proxycore import Cause, Placement, RunId, ServiceId

from ._containers import Inspected, Owner, create_arguments, instance_filter
from ._engine_socket import EngineLost, EngineRefused, EngineSocket, log_lines
from ._exits import classify, explain, refusal
from ._logs import clean_line, read_tail, tail_of
from ._owned import find, inspect, inspect_all, remove
from ._ports import check_port_free
from ._protocol import (
    LOG_TAIL_LINES,
    ContainerSpec,
    Endpoint,
    ExitReport,
    FoundProcess,
    LaunchSpec,
    Progress,
    PullProgress,
    RunFacts,
    RuntimeFault,
    RuntimeUnreachable,
)
from ._state import file_name, write_atomically
from ._whose import ContainerOwners, list_owned

T = TypeVar("T")

DEFAULT_HOST = "unix:///var/run/docker.sock"
CALL_S = 60
"""How long one short call may take; a start waits for the engine to set up networks and disks."""
THREADS_MAX = 16
RETRIES_S = (0.1, 0.3, 1.0)
PING_S = 1.0
PING_MAX_S = 5.0
"""An engine that does not answer a ping for so long is as good as gone."""
LAST_LOG_LINES = 1000
PROGRESS_S = 0.1
REFUSED_S = 0.2

# The SDK lets the errors of all the layers below it through.
_NO_ANSWER = (
    DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)

_Key = tuple[ServiceId, RunId]


class DockerRuntime:
    """Starts, watches and ends containers.  See `Runtime` for the contract."""

    name = "docker"

    def __init__(self, *, instance: str, docker_host: str | None, state_dir: Path) -> None:
        self._instance = instance
        self._host = docker_host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self._logs = state_dir / "logs"
        # Our own: a pull of an hour must not take a thread from name look-ups and files.
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self._pulls = trio.CapacityLimiter(2)
        self._client: docker.DockerClient | None = None
        self._connecting = threading.Lock()
        self._close_client: Callable[[], object] = lambda: None
        # Threads cannot be cancelled: a call whose task was cancelled goes on, and whoever then
        # ends the container must wait for it.  Hence locks of threads, not of tasks.
        self._locks: dict[_Key, threading.Lock] = {}
        self._ids: dict[_Key, str] = {}
        self._end_asked: set[_Key] = set()
        self._owners = ContainerOwners()

    async def check(self) -> str:
        with trio.move_on_after(PING_MAX_S):
            try:
                version = await self._sdk(lambda client: client.version())
            except APIError as error:
                raise self._unreachable(error) from error
            # The SDK speaks to hosts that the socket cannot.
            await self._answered("GET", "/_ping")
            return f"Docker {version['Version']} at {self._host}"
        raise self._unreachable(EngineLost(f"no answer within {PING_MAX_S:g} s"))

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Tell when the engine is lost or back; never returns.

        Asked every second: that also tells an engine that hangs from one that has nothing to
        say, which listening to its events would not.
        """
        well: bool | None = None
        while True:
            try:
                message = await self.check()
                now_well = True
            except RuntimeUnreachable as error:
                message = str(error)
                now_well = False
            if now_well is not well:
                well = now_well
                changed(well, message)
            await trio.sleep(PING_S)

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        """Create and start the container.

        One that has ended before its port was known gets port 0; `wait_gone` tells why.
        """
        what = spec.what
        if not isinstance(what, ContainerSpec):
            raise _fault("wrong_runtime", f"{spec.service} is a process, not a container")
        if what.network_mode == "host":
            check_port_free(what.port)  # The engine does not look, and the server may move on.
        owner = Owner(self._instance, spec.service, run)
        lock = self._locks.setdefault((spec.service, run), threading.Lock())
        arguments = create_arguments(owner, spec, placement)

        def create(client: docker.DockerClient) -> str:
            with lock:
                # A call may have succeeded whose answer was lost.
                made = find(client, owner)
                number = made.id if made else str(client.containers.create(**arguments).id)
                for network in what.networks[1:]:
                    if made is None or network not in made.networks:
                        client.networks.get(network).connect(number)
                return number

        def start(client: docker.DockerClient) -> Inspected:
            with lock:
                client.api.start(made)
                return Inspected(client.api.inspect_container(made))

        try:
            made = await self._retried(lambda: self._sdk(create))
            self._ids[spec.service, run] = made
            container = await self._retried(lambda: self._sdk(start))
        except APIError as error:
            await self._ask(lambda client: remove(client, owner))
            raise _refusal(what.image, error) from error
        if not container.alive:
            return Endpoint("127.0.0.1", 0)
        if container.endpoint is None:
            await self._ask(lambda client: remove(client, owner))
            raise _fault(
                "no_port",
                f"network_mode {what.network_mode!r} leaves no way to reach port {what.port}: "
                "use a bridge network or `host`",
            )
        return container.endpoint

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        container = await self._find(service, run)
        return container is not None and container.endpoint == endpoint

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        await self._end(service, run, "stop", t=str(math.ceil(grace_s)))

    async def kill(self, service: ServiceId, run: RunId) -> None:
        await self._end(service, run, "kill")

    async def _end(self, service: ServiceId, run: RunId, how: str, **query: str) -> None:
        self._end_asked.add((service, run))
        owner = Owner(self._instance, service, run)
        while (container := await self._find(service, run)) is not None:
            if container.status == "created":  # A start that was cancelled half-way.
                await self._ask(lambda client: remove(client, owner))
            elif not container.alive:
                return
            else:
                path = f"/containers/{container.id}"
                await self._answered("POST", f"{path}/{how}", **query)
                if how == "kill":  # A stop is answered when it is done.
                    await self._answered("POST", f"{path}/wait")

    async def _answered(self, method: str, path: str, **query: str) -> None:
        """Make a call that lasts; that it is refused only means to look again.

        Raises:
            RuntimeUnreachable: the engine went away.
        """
        try:
            await (await self._socket()).call(method, path, **query)
        except EngineRefused:
            await trio.sleep(REFUSED_S)
        except EngineLost as error:
            raise self._unreachable(error) from error

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        """Wait for the end of the container, even while the engine is away."""
        while True:
            try:
                return await self._wait_gone(spec, run)
            except RuntimeUnreachable:
                await trio.sleep(PING_S)

    async def _wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        while (container := await self._find(spec.service, run)) and container.alive:
            await self._answered("POST", f"/containers/{container.id}/wait")
        asked = (spec.service, run) in self._end_asked
        if container is None:
            cause = Cause("stopped" if asked else "removed", "the container was removed")
            return ExitReport(cause, None, False, ())
        tail = await self._log_tail(container, LOG_TAIL_LINES)
        if asked:
            cause = Cause("stopped", "stopped because it was asked to")
        else:
            evidence = (*tail, clean_line(container.error)) if container.error else tail
            cause = classify(container.exit_code, container.oom_killed, evidence, spec.failures)
        return ExitReport(cause, container.exit_code, container.oom_killed, tail)

    async def forget(self, service: ServiceId, run: RunId) -> None:
        container = await self._find(service, run)
        if container is not None:
            lines = await self._log_tail(container, LAST_LOG_LINES)
            text = "".join(f"{line}\n" for line in lines).encode()
            # A full disk costs the log, not the removal.
            with contextlib.suppress(OSError):
                await trio.to_thread.run_sync(write_atomically, self._log_file(service), text)
            owner = Owner(self._instance, service, run)
            await self._ask(lambda client: remove(client, owner))
        self._locks.pop((service, run), None)
        self._ids.pop((service, run), None)
        self._end_asked.discard((service, run))

    async def found(self) -> Sequence[FoundProcess]:
        def look(client: docker.DockerClient) -> list[Inspected]:
            return inspect_all(client, instance_filter(self._instance))

        containers = await self._ask(look)
        return [found for container in containers if (found := container.found()) is not None]

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        container = await self._find(service, run)
        return container.facts() if container is not None and container.alive else None

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        return await self._owners.whose(
            pids, lambda: self._sdk(lambda client: list_owned(client, self._instance))
        )

    async def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        container = await self._find(service, run)
        if container is not None:
            async for line in self._container_log(container, tail=tail, follow=follow):
                yield line
        else:
            for line in await trio.to_thread.run_sync(read_tail, self._log_file(service), tail):
                yield line

    async def _log_tail(self, container: Inspected, count: int) -> tuple[str, ...]:
        lines = self._container_log(container, tail=count, follow=False)
        return tail_of([line async for line in lines], count)

    async def _container_log(
        self, container: Inspected, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        engine = await self._socket()
        query = {"stdout": "1", "stderr": "1", "tail": str(tail), "follow": str(int(follow))}
        # An engine that goes away ends the log: `watch` and `wait_gone` tell of it.
        with contextlib.suppress(EngineLost, EngineRefused):
            path = f"/containers/{container.id}/logs"
            async with engine.stream("GET", path, **query) as pieces:
                async for line in log_lines(pieces):
                    yield line

    async def pull(self, image: str, progress: Progress) -> None:
        """Fetch an image; the old one of that name stays until the new one is complete."""

        def pull(client: docker.DockerClient) -> None:
            repository, tag = parse_repository_tag(image)
            layers: dict[str, tuple[int, int]] = {}
            told_at = 0.0
            for step in client.api.pull(repository, tag or "latest", stream=True, decode=True):
                trio.from_thread.check_cancelled()
                if "error" in step:
                    raise _fault("pull_failed", f"{image}: {clean_line(str(step['error']))}")
                detail = step.get("progressDetail") or {}
                if step.get("status") == "Downloading" and "total" in detail:
                    layers[step["id"]] = (detail["current"], detail["total"])
                elif step.get("status") == "Download complete" and step["id"] in layers:
                    layers[step["id"]] = (layers[step["id"]][1],) * 2
                if time.monotonic() - told_at > PROGRESS_S or "id" not in step:
                    told_at = time.monotonic()
                    done = sum(current for current, _ in layers.values())
                    total = sum(size for _, size in layers.values())
                    status = clean_line(str(step.get("status", "")))
                    trio.from_thread.run_sync(progress, PullProgress(status, done, total))

        try:
            # Not abandoned when cancelled: the thread looks for that itself, at every step.
            await self._sdk(pull, limiter=self._pulls, abandon_on_cancel=False)
        except APIError as error:
            message = clean_line(str(error.explanation or error))
            raise _fault("pull_failed", f"{image}: {message}") from error

    async def check_image(self, image: str) -> None:
        """Ask whether an image is here.

        Raises:
            RuntimeFault: it is not, or no image can have this name.
            RuntimeUnreachable: the engine does not say.
        """
        try:
            await self._sdk(lambda client: client.images.get(image))
        except APIError as error:
            if error.is_client_error():
                raise _refusal(image, error) from error
            raise self._unreachable(error) from error

    async def _find(self, service: ServiceId, run: RunId) -> Inspected | None:
        """Look for the run's container, once no call is under way that may still change it."""
        owner = Owner(self._instance, service, run)
        lock = self._locks.get((service, run))
        known = self._ids.get((service, run))

        def look(client: docker.DockerClient) -> Inspected | None:
            with lock or contextlib.nullcontext():
                # Looking by label takes a call more, and each is waited for in a swap.
                return find(client, owner) if known is None else inspect(client, known)

        return await self._ask(look)

    async def _ask(self, call: Callable[[docker.DockerClient], T]) -> T:
        """Make a call that a sound engine never refuses: one that does is as good as gone.

        Raises:
            RuntimeUnreachable: it cannot be reached, or has only errors for answers.
        """
        try:
            return await self._retried(lambda: self._sdk(call))
        except APIError as error:
            raise self._unreachable(error) from error

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
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

    async def _sdk(
        self,
        call: Callable[[docker.DockerClient], T],
        *,
        limiter: trio.CapacityLimiter | None = None,
        abandon_on_cancel: bool = True,
    ) -> T:
        def in_thread() -> T:
            return call(self._connect())

        try:
            return await trio.to_thread.run_sync(
                in_thread,
                limiter=limiter or self._limiter,
                abandon_on_cancel=abandon_on_cancel,
            )
        except APIError:
            raise
        except _NO_ANSWER as error:
            raise self._unreachable(error) from error

    def _connect(self) -> docker.DockerClient:
        # The SDK leaks a socket whenever it cannot connect to one, and hides the reason.
        scheme, _, path = self._host.partition("://")
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.settimeout(CALL_S)
                attempt.connect(path)
        with self._connecting:
            client = self._client  # Which others may set to None at any time.
            if client is None:
                client = self._client = docker.DockerClient(base_url=self._host, timeout=CALL_S)
                self._close_client = weakref.finalize(self, client.close)
            return client

    async def _socket(self) -> EngineSocket:
        version = await self._sdk(lambda client: str(client.api.api_version))
        return EngineSocket(self._host, version)

    def _unreachable(self, error: Exception) -> RuntimeUnreachable:
        self._close_client()  # The engine may come back as another version.
        self._client = None
        reason = clean_line(str(error).replace("\n", " "))
        message = f"the container engine at {self._host} cannot be reached: {reason}. "
        if "Permission denied" in reason:
            message += "May this user use it (group `docker`)?"
        else:
            message += "Is it running (`systemctl start docker`)?"
        return RuntimeUnreachable(Cause("engine_unreachable", message))

    def _log_file(self, service: ServiceId) -> Path:
        return self._logs / f"{file_name(service)}.log"


def _refusal(image: str, error: APIError) -> RuntimeFault:
    message = clean_line(str(error.explanation or error).replace("\n", " "))
    return RuntimeFault(refusal(image, error.status_code, message))


def _fault(kind: str, message: str) -> RuntimeFault:
    return RuntimeFault(Cause(kind, message, heals=False))
