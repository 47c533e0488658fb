"""The process runtime: services as plain commands, for people without a container engine.

Every run is the leader of its own session, writes its log straight to a file and is described by
a state file, so that it needs nothing of ours to live on: a daemon that starts later finds it,
watches it and ends it as if it were its own child.
"""

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path

import attrs
import trio

from proxycore import Cause, Placement, RunId, ServiceId

from . import _proc
from ._exits import classify
from ._gpus import visible_gpus
from ._logs import bound_file, follow_file, read_tail
from ._ports import LOOPBACK, check_port_free, free_port
from ._protocol import (
    LOG_TAIL_LINES,
    Endpoint,
    ExitReport,
    FoundProcess,
    LaunchSpec,
    ProcessSpec,
    RunFacts,
    RuntimeFault,
)
from ._records import Record, RunFiles

LOG_BYTES_MAX = 8 * 1024 * 1024
LOG_CHECK_S = 1.0
LEFTOVER_S = 1.0
"""How long children may outlive their leader; then nobody can stop them but we."""
GROUP_POLL_S = 0.02
KILL_AGAIN_S = 0.5
"""A group is killed again while it lives: it may have grown between looking and killing."""
MARKER = "AIPROXY_RUN"
"""In the environment of every process of a run: whose it is."""

_Key = tuple[ServiceId, RunId]


@attrs.frozen
class _Record(Record):
    port: int
    marker: str
    pid: int | None = None
    """None: it was about to be started when the daemon died."""
    start_ticks: int = 0


class ProcessRuntime:
    """Starts, watches and ends plain commands.  See `Runtime` for the contract."""

    name = "process"

    def __init__(
        self, *, instance: str, state_dir: Path, log_bytes_max: int = LOG_BYTES_MAX
    ) -> None:
        self._instance = instance
        self._log_bytes_max = log_bytes_max
        self._files = RunFiles(state_dir / "processes", _Record)
        self._exit_codes: dict[_Key, int] = {}
        self._end_asked: set[_Key] = set()

    async def check(self) -> str:
        await trio.lowlevel.checkpoint()
        return "plain processes of this machine"

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Tell once that all is well: a machine that runs us runs processes."""
        changed(True, await self.check())
        await trio.sleep_forever()

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        what = spec.what
        if not isinstance(what, ProcessSpec):
            raise _fault("wrong_runtime", f"{spec.service} is a container, not a process")
        if what.port is None:
            port = free_port(self._given_ports())
        else:
            await trio.to_thread.run_sync(check_port_free, port := what.port)
        record = _Record(
            spec.service,
            run,
            spec.fingerprint,
            placement,
            time.time(),
            port,
            f"{self._instance}/{spec.service}/{run}",
        )
        # Not abandoned when we are cancelled: so it is done in full, or not at all.
        try:
            await trio.to_thread.run_sync(self._spawn, what, record)
        except OSError as error:
            self._files.forget(spec.service, run)
            with contextlib.suppress(OSError):
                self._files.log(spec.service, run).unlink(missing_ok=True)
            message = f"cannot keep state and log in {self._files.folder}: {error.strerror}"
            advice = "make room, or choose another `server.state_dir`"
            raise _fault("state_dir", f"{message}: {advice}", heals=True) from error
        return Endpoint(LOOPBACK, port)

    def _spawn(self, what: ProcessSpec, record: _Record) -> None:
        if what.working_dir is not None and not Path(what.working_dir).is_dir():
            raise _fault("bad_working_dir", f"working_dir {what.working_dir!r} is not a folder")
        command = [word.replace("${PORT}", str(record.port)) for word in what.command]
        environment = dict(os.environ) | visible_gpus(record.placement)
        for name, value in what.environment:
            environment[name] = value.replace("${PORT}", str(record.port))
        environment[MARKER] = record.marker
        # Written first without, then with its number: killed between the two, we find the
        # process by its environment.
        self._files.write(record)
        self._files.remove_old_logs(record.service)
        log_file = self._files.log(record.service, record.run)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        log = os.open(log_file, flags, 0o600)
        try:
            child = subprocess.Popen(
                command,
                cwd=what.working_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._files.forget(record.service, record.run)
            with contextlib.suppress(OSError):
                log_file.unlink()
            raise _cannot_run(command, error) from error
        finally:
            os.close(log)
        stat = _proc.read_stat(child.pid)
        assert stat is not None, "a child that nobody reaped keeps its number"
        known = attrs.evolve(record, pid=child.pid, start_ticks=stat.start_ticks)
        try:
            self._files.write(known)
        except OSError:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        # Popen would reap it, or complain of a living child, when it is collected; we reap by
        # number instead, as late as possible (see `_reap`), whether it is a child or adopted.
        child.returncode = 0

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        record = self._files.read(service, run)
        if record is None or (LOOPBACK, record.port) != (endpoint.host, endpoint.port):
            await trio.lowlevel.checkpoint()
            return False
        return await trio.to_thread.run_sync(_listens_alone, record)

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        self._end_asked.add((service, run))
        record = self._files.read(service, run)
        if record is None:
            await trio.lowlevel.checkpoint()
            return
        await _signal(record, signal.SIGTERM)
        with trio.move_on_after(grace_s):
            await self._group_gone(record)
            return
        await self.kill(service, run)

    async def kill(self, service: ServiceId, run: RunId) -> None:
        self._end_asked.add((service, run))
        await trio.lowlevel.checkpoint()
        record = self._files.read(service, run)
        if record is not None:
            await self._kill(record)

    async def _kill(self, record: _Record) -> None:
        while True:
            await _signal(record, signal.SIGKILL)
            with trio.move_on_after(KILL_AGAIN_S):
                await self._group_gone(record)
                return

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        service, key = spec.service, (spec.service, run)
        record = self._files.read(service, run)
        log_file = self._files.log(service, run)
        # Who has an exit code was found gone with all its group: to look again takes milliseconds.
        if record is not None and record.pid is not None and key not in self._exit_codes:
            gone = False
            while not gone:
                with trio.move_on_after(LOG_CHECK_S):
                    await _proc.wait_exit(record.pid, record.start_ticks)
                    gone = True
                with contextlib.suppress(OSError):  # It is gone, or the disk is full.
                    bound_file(log_file, self._log_bytes_max)
            with trio.move_on_after(LEFTOVER_S) as leftovers:
                await self._group_gone(record)
            if leftovers.cancelled_caught:
                await self._kill(record)
        exit_code = self._exit_codes.get(key)
        tail = await trio.to_thread.run_sync(read_tail, log_file, LOG_TAIL_LINES)
        if key in self._end_asked:
            cause = Cause("stopped", "stopped because it was asked to")
        else:
            cause = classify(exit_code, False, tail, spec.failures)
        return ExitReport(cause, exit_code, False, tail)

    async def forget(self, service: ServiceId, run: RunId) -> None:
        await trio.lowlevel.checkpoint()
        self._exit_codes.pop((service, run), None)
        self._end_asked.discard((service, run))
        self._files.forget(service, run)

    async def found(self) -> Sequence[FoundProcess]:
        """Return what an earlier life left; what outlived the leader of a dead run is killed."""
        found = []
        for state_file in self._files.paths():
            record = self._files.at(state_file)
            if record is None:
                state_file.unlink()
                continue
            if record.pid is None:
                record = await trio.to_thread.run_sync(_with_number, record)
                with contextlib.suppress(OSError):  # The next life can find it in the same way.
                    self._files.write(record)
            alive = _leader_lives(record)
            if not alive:
                await self._kill(record)
            found.append(
                FoundProcess(
                    service=record.service,
                    run=record.run,
                    fingerprint=record.fingerprint,
                    placement=record.placement,
                    alive=alive,
                    endpoint=Endpoint(LOOPBACK, record.port) if alive else None,
                    started_at=record.started_at,
                )
            )
        await trio.lowlevel.checkpoint()
        return found

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        record = self._files.read(service, run)
        if record is None or not _leader_lives(record):
            await trio.lowlevel.checkpoint()
            return None

        def used() -> tuple[int | None, float]:
            members = _members(record)
            return _proc.memory_of(members), _proc.processor_s_of(members)

        memory, processor_s = await trio.to_thread.run_sync(used)
        return RunFacts(
            name=f"pid {record.pid}",
            image=None,
            pid=record.pid,
            ports=(f"{LOOPBACK}:{record.port}",),
            started_at=record.started_at,
            memory=memory,
            processor_s=processor_s,
        )

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        return await trio.to_thread.run_sync(self._whose, pids)

    def _whose(self, pids: Collection[int]) -> dict[int, RunId]:
        stats = [stat for pid in pids if (stat := _proc.read_stat(pid)) is not None]
        return {pid: record.run for record in self._files.all() for pid in _members(record, stats)}

    def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        record = self._files.read(service, run)
        return follow_file(
            self._files.log(service, run),
            tail=tail,
            follow=follow,
            ended=lambda: record is None or not _leader_lives(record),
        )

    async def _group_gone(self, record: _Record) -> None:
        """Wait until nothing of the run lives, then take its exit code."""
        if record.pid is not None:
            await _proc.wait_exit(record.pid, record.start_ticks)
        # Who outlives the leader cannot be waited for, only looked for.
        while await trio.to_thread.run_sync(_members, record):  # noqa: ASYNC110
            await trio.sleep(GROUP_POLL_S)
        self._reap(record)

    def _reap(self, record: _Record) -> None:
        """Take the exit code, if it is our child.

        Only when nothing of its group lives: until then, the dead leader keeps its number from
        being given anew, and so marks the group as ours.
        """
        stat = None if record.pid is None else _proc.read_stat(record.pid)
        if stat is None or stat.start_ticks != record.start_ticks:
            return
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(stat.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self._exit_codes[record.service, record.run] = code

    def _given_ports(self) -> set[int]:
        """Return the ports of all runs, some of which may not listen yet."""
        return {record.port for record in self._files.all()}


def _leader_lives(record: _Record) -> bool:
    stat = None if record.pid is None else _proc.read_stat(record.pid)
    return stat is not None and stat.start_ticks == record.start_ticks and not stat.dead


def _members(record: _Record, among: Iterable[_proc.ProcessStat] | None = None) -> list[int]:
    """Return the living processes of the run: its session and group, and who left them.

    Args:
        record: the run.
        among: who is looked at; None: every process of this machine.
    """
    leader = None if record.pid is None else _proc.read_stat(record.pid)
    # Else the number may be a stranger's by now, and with it the group and session of that name.
    is_led = leader is not None and leader.start_ticks == record.start_ticks
    return [
        stat.pid
        for stat in (_proc.all_stats() if among is None else among)
        if stat.start_ticks >= record.start_ticks
        and not stat.dead
        and (
            (is_led and record.pid in (stat.group, stat.session))
            # A server that makes itself a daemon is in neither.
            or _proc.environment_has(stat.pid, _mark(record))
        )
    ]


def _mark(record: _Record) -> str:
    return f"{MARKER}={record.marker}"


async def _signal(record: _Record, number: signal.Signals) -> None:
    for pid in await trio.to_thread.run_sync(_members, record):
        # One that runs as somebody else (sudo) may be beyond us: then the run does not end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _with_number(record: _Record) -> _Record:
    """Find the process of a record that the daemon did not live to complete."""
    for stat in _proc.all_stats():
        if stat.pid == stat.session and _proc.environment_has(stat.pid, _mark(record)):
            return attrs.evolve(record, pid=stat.pid, start_ticks=stat.start_ticks)
    return record


def _listens_alone(record: _Record) -> bool:
    """Tell whether all who listen on the run's port are of the run, and somebody does."""
    listeners = _proc.listeners_on(record.port)
    if not listeners or not _leader_lives(record):
        return False
    # Mostly it is the leader that listens: to look at all processes takes ten times as long, and
    # this is asked between a server's being ready and its first request.
    return listeners <= _proc.socket_inodes([record.pid or 0]) or (
        listeners <= _proc.socket_inodes(_members(record))
    )


def _cannot_run(command: Sequence[str], error: OSError | ValueError) -> RuntimeFault:
    program = command[0] if command else ""
    match error:
        case FileNotFoundError():
            return _fault("binary_missing", f"{program!r} not found: install it or correct it")
        case PermissionError():
            return _fault("not_executable", f"{program!r} may not be run: chmod +x, or correct it")
        case OSError(errno=errno.ENOEXEC):
            return _fault("not_executable", f"{program!r} is no program for this machine")
        case OSError(errno=errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE):
            message = f"the machine has no room for another process now: {error}"
            return _fault("machine_full", message, heals=True)
        case _:
            return _fault("bad_command", f"{program!r} cannot be started: {error}")


def _fault(kind: str, message: str, *, heals: bool = False) -> RuntimeFault:
    return RuntimeFault(Cause(kind, message, heals))
