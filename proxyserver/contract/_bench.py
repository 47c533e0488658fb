"""The bench on which a runtime is checked: the runtime, and a hand in its world."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import attrs
import h11
import trio

from proxycore import DeviceId, Placement, ServiceId
from proxyserver.runtime import Endpoint, FailurePattern, LaunchSpec, ProcessSpec, Runtime

from . import _server

PATIENCE_S = 20.0
"""How long anything may take here before the check fails."""
ANSWER_S = 2.0
CLEAN_S = 30.0

ALPHA, BETA = ServiceId("alpha"), ServiceId("beta.with/odd name")
PLACEMENT = Placement.of([(DeviceId("gpu0"), 1000), (DeviceId("ram"), 2000)])
FINGERPRINT = "f00d"

# A server that is not there, still loading, crashing or hanging shows itself in all these ways.
NO_ANSWER = (OSError, trio.BrokenResourceError, h11.RemoteProtocolError)


@attrs.frozen
class Behaviour:
    """What the server of a check does; each bench plays it by its own means."""

    load_s: float = 0.0
    exit_code: int | None = None
    """Ends with this code when loaded."""
    out_of_gpu: bool = False
    """Ends when loaded, as llama.cpp does when the GPU is full."""
    ignores_term: bool = False


KIND = Behaviour()


class Bench(Protocol):
    """A runtime, and a hand in its world."""

    @property
    def runtime(self) -> Runtime: ...

    def reborn(self) -> Runtime:
        """Return a new runtime on the same world, as after kill -9 of the daemon."""

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec: ...

    def spec_of_nothing(self) -> LaunchSpec:
        """Return a service whose image or program does not exist."""

    async def answers(self, endpoint: Endpoint) -> bool:
        """Tell whether a server is ready there."""

    async def crash(self, endpoint: Endpoint) -> None: ...

    async def say(self, endpoint: Endpoint, word: str) -> None:
        """Let the server log a line with this word."""


async def ask(endpoint: Endpoint, path: str) -> int | None:
    """Return the status of a GET; None if there is no whole answer."""
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("Host", "mock")])
    data = connection.send(request)
    assert data is not None
    with trio.move_on_after(ANSWER_S), contextlib.suppress(*NO_ANSWER):
        async with await trio.open_tcp_stream(endpoint.host, endpoint.port) as stream:
            await stream.send_all(data)
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(4096)))
            assert isinstance(event, h11.Response)
            return event.status_code
    return None


def environment_of(behaviour: Behaviour) -> tuple[tuple[str, str], ...]:
    """Return what makes the scripted server behave so."""
    return (
        ("LOAD_MS", str(round(behaviour.load_s * 1000))),
        ("LOAD_EXIT", "" if behaviour.exit_code is None else str(behaviour.exit_code)),
        ("LOAD_OOM", str(int(behaviour.out_of_gpu))),
        ("IGNORE_TERM", str(int(behaviour.ignores_term))),
    )


class ServerBench:
    """What all benches have in common whose servers are really there: they are asked by HTTP."""

    async def answers(self, endpoint: Endpoint) -> bool:
        return await ask(endpoint, "/health") == 200

    async def crash(self, endpoint: Endpoint) -> None:
        assert await ask(endpoint, "/mock/crash") is None

    async def say(self, endpoint: Endpoint, word: str) -> None:
        await ask(endpoint, f"/mock/log?{word}")


class ProcessBench(ServerBench):
    """A bench for a runtime that takes processes.

    Args:
        make: makes the runtime, each time on the same folder.
        options: what a service would say under the name of the runtime.
        command: the server of the checks; by default one that comes with this package.
    """

    def __init__(
        self,
        make: Callable[[], Runtime],
        *,
        options: Any = None,
        command: tuple[str, ...] = (sys.executable, "-IS", str(Path(_server.__file__))),
    ) -> None:
        self._make = make
        self._options = options
        self._command = command
        self.runtime = make()

    def reborn(self) -> Runtime:
        return self._make()

    def spec(
        self,
        service: ServiceId = ALPHA,
        behaviour: Behaviour = KIND,
        failures: tuple[FailurePattern, ...] = (),
    ) -> LaunchSpec:
        environment = (("PORT", "${PORT}"), *environment_of(behaviour))
        return LaunchSpec(
            service,
            ProcessSpec(self._command, environment),
            failures=failures,
            fingerprint=FINGERPRINT,
            options=self._options,
        )

    def spec_of_nothing(self) -> LaunchSpec:
        return LaunchSpec(ALPHA, ProcessSpec(("/nothing-here",)), options=self._options)


@contextlib.asynccontextmanager
async def cleaned(bench: Bench) -> AsyncIterator[None]:
    """Leave nothing behind, whatever a check did."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True), trio.fail_after(CLEAN_S):
            runtime = bench.reborn()
            for found in await runtime.found():
                await runtime.kill(found.service, found.run)
                await runtime.forget(found.service, found.run)
