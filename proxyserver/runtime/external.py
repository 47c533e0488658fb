"""The external runtime: servers that run elsewhere, or that somebody else starts.

Commands may start and stop them.  Whether one lives cannot be waited for, only asked: readiness
and liveness probes do that, and here a run lives until it is ended.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs
import trio

from proxycore import Cause, Placement, RunId, ServiceId

from ._dial import dial, socket_of
from ._logs import bound_file, follow_file, read_tail
from ._protocol import (
    LOG_TAIL_LINES,
    Endpoint,
    ExitReport,
    ExternalSpec,
    FoundProcess,
    LaunchSpec,
    RunFacts,
    RuntimeFault,
)
from ._records import Record, RunFiles

LOG_BYTES_MAX = 1 << 20
CONNECT_S = 5.0
STOP_COMMAND_S = 60.0
"""How long the command that stops a server may take when nobody says otherwise."""


@attrs.frozen
class _Record(Record):
    """How to stop it, too, if it is configured no more."""

    stop: tuple[str, ...]
    host: str
    port: int


class ExternalRuntime:
    """Knows servers by their address.  See `Runtime` for the contract.

    Args:
        state_dir: where it keeps what outlives the daemon.
        specs: what the configuration says now: a run that is found is reached as that says.
    """

    name = "external"

    def __init__(self, *, state_dir: Path, specs: Mapping[ServiceId, LaunchSpec]) -> None:
        self._files = RunFiles(state_dir / "external", _Record)
        self._specs = specs
        self._ended: dict[tuple[ServiceId, RunId], trio.Event] = {}

    async def check(self) -> str:
        await trio.lowlevel.checkpoint()
        return "servers that run elsewhere"

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Tell once that all is well: each server is asked by its own probes."""
        changed(True, await self.check())
        await trio.sleep_forever()

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        what = spec.what
        if not isinstance(what, ExternalSpec):
            raise _fault("wrong_runtime", f"{spec.service} does not run elsewhere")
        record = _Record(
            spec.service, run, spec.fingerprint, placement, time.time(), what.stop,
            *_place(what.endpoint),
        )  # fmt: skip
        try:
            # Before the command: whoever finds it half done can stop what it started.
            self._files.write(record)
            self._files.remove_old_logs(spec.service)
        except OSError as error:
            message = f"cannot keep state in {self._files.folder}: {error.strerror}"
            raise _fault("state_dir", message, heals=True) from error
        try:
            if what.start:
                await self._command(what.start, spec.service, run, "start_command")
            else:
                await _reach(what.endpoint)
        except RuntimeFault:
            self._files.forget(spec.service, run)
            raise
        await trio.lowlevel.checkpoint()
        return what.endpoint

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        await trio.lowlevel.checkpoint()
        record = self._files.read(service, run)
        return record is not None and (record.host, record.port) == _place(endpoint)

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        await self._end(service, run, max(grace_s, STOP_COMMAND_S))

    async def kill(self, service: ServiceId, run: RunId) -> None:
        """Stop it as politely as `stop`: there is no other way to it."""
        await self._end(service, run, STOP_COMMAND_S)

    async def _end(self, service: ServiceId, run: RunId, within_s: float) -> None:
        await trio.lowlevel.checkpoint()
        record = self._files.read(service, run)
        if record is None:
            return
        if record.stop:
            with trio.move_on_after(within_s) as scope:
                await self._command(record.stop, service, run, "stop_command")
            if scope.cancelled_caught:
                message = f"{record.stop[0]!r} did not stop it within {within_s:g} s"
                raise _fault("stop_command", message, heals=True)
        self._files.forget(service, run)
        self._event(service, run).set()

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        """Wait until it was ended by us: an end by itself is for the liveness probe to see."""
        await trio.lowlevel.checkpoint()
        if self._files.read(spec.service, run) is not None:
            await self._event(spec.service, run).wait()
        tail = await trio.to_thread.run_sync(
            read_tail, self._files.log(spec.service, run), LOG_TAIL_LINES
        )
        return ExitReport(Cause("stopped", "stopped because it was asked to"), None, False, tail)

    async def forget(self, service: ServiceId, run: RunId) -> None:
        await trio.lowlevel.checkpoint()
        self._ended.pop((service, run), None)
        self._files.forget(service, run)

    async def found(self) -> Sequence[FoundProcess]:
        await trio.lowlevel.checkpoint()
        found = []
        for record in self._files.all():
            spec = self._specs.get(record.service)
            same = spec is not None and spec.fingerprint == record.fingerprint
            endpoint = None
            if same and spec is not None and isinstance(spec.what, ExternalSpec):
                endpoint = spec.what.endpoint
            found.append(
                FoundProcess(
                    service=record.service,
                    run=record.run,
                    fingerprint=record.fingerprint,
                    placement=record.placement,
                    alive=True,
                    endpoint=endpoint,
                    started_at=record.started_at,
                )
            )
        return found

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        await trio.lowlevel.checkpoint()
        record = self._files.read(service, run)
        if record is None:
            return None
        host = record.host
        address = f"unix:{host}" if host[0] == "/" else f"{host}:{record.port}"
        return RunFacts(address, None, None, (address,), record.started_at, None)

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        """Tell nothing: what runs elsewhere is a stranger's here, or is not here at all."""
        await trio.lowlevel.checkpoint()
        return {}

    def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield what the commands said; the server's own log is where it runs."""
        return follow_file(
            self._files.log(service, run),
            tail=tail,
            follow=follow,
            ended=lambda: self._files.read(service, run) is None,
        )

    async def _command(
        self, words: tuple[str, ...], service: ServiceId, run: RunId, kind: str
    ) -> None:
        """Run a command to its end, its output going to the log.

        Raises:
            RuntimeFault: it cannot be run, or failed.
        """
        with self._log(service, run) as log:
            try:
                done = await trio.run_process(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    start_new_session=True,
                    deliver_cancel=_end_group,
                )
            except OSError as error:
                message = f"cannot run {words[0]!r}: {error.strerror}"
                raise _fault("binary_missing", message) from error
        if done.returncode:
            tail = await trio.to_thread.run_sync(read_tail, self._files.log(service, run), 1)
            said = f": {tail[0]}" if tail else ""
            message = f"{' '.join(words)!r} ended with {done.returncode}{said}"
            raise _fault(kind, message, heals=True)

    @contextlib.contextmanager
    def _log(self, service: ServiceId, run: RunId) -> Iterator[IO[bytes]]:
        path = self._files.log(service, run)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log = path.open("ab")
            bound_file(path, LOG_BYTES_MAX)
        except OSError as error:
            message = f"cannot write a log to {path.parent}: {error.strerror}"
            raise _fault("state_dir", message, heals=True) from error
        with log:
            yield log

    def _event(self, service: ServiceId, run: RunId) -> trio.Event:
        return self._ended.setdefault((service, run), trio.Event())


def _place(endpoint: Endpoint) -> tuple[str, int]:
    """Return what the record of a run says of where it is: a host, or the path of a socket."""
    return endpoint.socket or endpoint.host, endpoint.port


async def _reach(endpoint: Endpoint) -> None:
    """Knock at a server that nobody starts: who is not there now says more than a time-out.

    Raises:
        RuntimeFault: nobody is there, or it is not who it should be.
    """
    try:
        with trio.fail_after(CONNECT_S):
            stream = await dial(endpoint)
    except (OSError, trio.TooSlowError) as error:
        why = str(error) or f"no answer within {CONNECT_S:g} s"
        message = f"{endpoint.place} cannot be reached: {why}"
        raise _fault("server_unreachable", message, heals=True) from error
    socket_of(stream).close()


async def _end_group(process: trio.Process) -> None:
    """End a command that takes too long, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _fault(kind: str, message: str, *, heals: bool = False) -> RuntimeFault:
    return RuntimeFault(Cause(kind, message, heals=heals))
