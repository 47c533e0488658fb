"""The docker runtime: services as containers.

The engine keeps all state: what is ours is known by its labels, so nothing is lost with us.
"""

import contextlib
import math
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

import attrs
import docker
import trio
from docker.errors import APIError

from proxycore import Cause, Placement, RunId, ServiceId

from ._containers import Inspected, Owner, create_arguments, instance_filter
from ._engine import Engine
from ._engine_socket import EngineLost, EngineRefused, log_lines
from ._exits import classify, refusal
from ._holders import holder_of, port_of, publisher_of
from ._logs import clean_line, read_tail, tail_of
from ._owned import find, inspect, inspect_all, remove
from ._ports import check_port_free, taken
from ._protocol import (
    LOG_TAIL_LINES,
    ContainerSpec,
    Endpoint,
    ExitReport,
    FoundProcess,
    LaunchSpec,
    RunFacts,
    RuntimeFault,
    RuntimeUnreachable,
)
from ._state import file_name, write_atomically
from ._whose import ContainerOwners, list_owned

PING_S = 1.0
PING_MAX_S = 5.0
"""An engine that does not answer a ping for so long is as good as gone."""
LAST_LOG_LINES = 1000
REFUSED_S = 0.2

_Key = tuple[ServiceId, RunId]


class DockerRuntime:
    """Starts, watches and ends containers.  See `Runtime` for the contract."""

    name = "docker"

    def __init__(self, *, instance: str, docker_host: str | None, state_dir: Path) -> None:
        self._instance = instance
        self._engine = Engine(docker_host)
        self._logs = state_dir / "logs"
        # Threads cannot be cancelled: a call whose task was cancelled goes on, and whoever then
        # ends the container must wait for it.  Hence locks of threads, not of tasks.
        self._locks: dict[_Key, threading.Lock] = {}
        self._ids: dict[_Key, str] = {}
        self._end_asked: set[_Key] = set()
        self._owners = ContainerOwners()

    async def check(self) -> str:
        with trio.move_on_after(PING_MAX_S):
            try:
                version = await self._engine.sdk(lambda client: client.version())
            except APIError as error:
                raise self._engine.unreachable(error) from error
            # The SDK speaks to hosts that the socket cannot.
            await self._answered("GET", "/_ping")
            return f"Docker {version['Version']} at {self._engine.host}"
        raise self._engine.unreachable(EngineLost(f"no answer within {PING_MAX_S:g} s"))

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
            # The engine does not look, and the server may move on.
            await trio.to_thread.run_sync(check_port_free, what.port)
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
            made = await self._engine.retried(lambda: self._engine.sdk(create))
            self._ids[spec.service, run] = made
            container = await self._engine.retried(lambda: self._engine.sdk(start))
        except APIError as error:
            await self._engine.ask(lambda client: remove(client, owner))
            raise await self._with_holder(_refusal(what.image, error)) from error
        if not container.alive:
            return Endpoint("127.0.0.1", 0)
        if container.endpoint is None:
            await self._engine.ask(lambda client: remove(client, owner))
            raise _fault(
                "no_port",
                f"network_mode {what.network_mode!r} leaves no way to reach port {what.port}: "
                "use a bridge network or `host`",
            )
        return container.endpoint

    async def _with_holder(self, fault: RuntimeFault) -> RuntimeFault:
        """Tell of a port that is taken who has it."""
        port = port_of(fault.cause.message)
        if port is None:
            return fault

        def look(client: docker.DockerClient) -> str:
            return publisher_of(client, port) or holder_of(port)

        message = taken(port, await self._engine.ask(look))
        return RuntimeFault(attrs.evolve(fault.cause, message=message))

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
                await self._engine.ask(lambda client: remove(client, owner))
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
            await (await self._engine.socket()).call(method, path, **query)
        except EngineRefused:
            await trio.sleep(REFUSED_S)
        except EngineLost as error:
            raise self._engine.unreachable(error) from error

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
            await self._engine.ask(lambda client: remove(client, owner))
        self._locks.pop((service, run), None)
        self._ids.pop((service, run), None)
        self._end_asked.discard((service, run))

    async def found(self) -> Sequence[FoundProcess]:
        def look(client: docker.DockerClient) -> list[Inspected]:
            return inspect_all(client, instance_filter(self._instance))

        containers = await self._engine.ask(look)
        return [found for container in containers if (found := container.found()) is not None]

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        container = await self._find(service, run)
        return container.facts() if container is not None and container.alive else None

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        return await self._owners.whose(
            pids, lambda: self._engine.sdk(lambda client: list_owned(client, self._instance))
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
        engine = await self._engine.socket()
        query = {"stdout": "1", "stderr": "1", "tail": str(tail), "follow": str(int(follow))}
        # An engine that goes away ends the log: `watch` and `wait_gone` tell of it.
        with contextlib.suppress(EngineLost, EngineRefused):
            path = f"/containers/{container.id}/logs"
            async with engine.stream("GET", path, **query) as pieces:
                async for line in log_lines(pieces):
                    yield line

    async def _find(self, service: ServiceId, run: RunId) -> Inspected | None:
        """Look for the run's container, once no call is under way that may still change it."""
        owner = Owner(self._instance, service, run)
        lock = self._locks.get((service, run))
        known = self._ids.get((service, run))

        def look(client: docker.DockerClient) -> Inspected | None:
            with lock or contextlib.nullcontext():
                # Looking by label takes a call more, and each is waited for in a swap.
                return find(client, owner) if known is None else inspect(client, known)

        return await self._engine.ask(look)

    def _log_file(self, service: ServiceId) -> Path:
        return self._logs / f"{file_name(service)}.log"


def _refusal(image: str, error: APIError) -> RuntimeFault:
    message = clean_line(str(error.explanation or error).replace("\n", " "))
    return RuntimeFault(refusal(image, error.status_code, message))


def _fault(kind: str, message: str) -> RuntimeFault:
    return RuntimeFault(Cause(kind, message, heals=False))
