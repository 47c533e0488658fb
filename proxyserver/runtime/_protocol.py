"""What a runtime is: something that starts, watches and ends runs, as containers or processes."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from proxycore import Cause, Placement, RunId, ServiceId
from proxyserver.shapes import Json, Seconds

LOG_TAIL_LINES = 200
"""What an exit report keeps of a log: enough for the tracebacks of a server of several processes;
vLLM writes 61 lines after the reason."""


class RuntimeFault(Exception):
    """The world's fault: a run could not be started, or what runs it cannot be reached."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class RuntimeUnreachable(RuntimeFault):
    """The engine itself does not answer: not the service's fault, so no failure of it."""


@attrs.frozen
class Mount:
    source: str
    """An absolute path of the host; anything else is the name of a volume of the engine."""
    target: str
    read_only: bool = False


@attrs.frozen
class PortBinding:
    """A fixed port published for people; the proxy itself uses one that the engine picks."""

    container: int
    host: int
    host_ip: str = "127.0.0.1"
    protocol: str = "tcp"


@attrs.frozen
class Ulimit:
    """A limit of the kernel on the processes of a container; -1 is none."""

    name: str
    soft: int
    hard: int


@attrs.frozen
class Healthcheck:
    """What the engine itself asks inside the container now and then; we do not go by it."""

    test: tuple[str, ...] = ()
    """CMD or CMD-SHELL and a command; empty: the image's own."""
    interval_s: float | None = None
    timeout_s: float | None = None
    start_period_s: float | None = None
    retries: int | None = None


@attrs.frozen
class ContainerSpec:
    """A container as the user wrote it, by compose's names."""

    image: str
    port: int
    """Where the server listens inside the container; published on a random loopback port."""
    command: tuple[str, ...] | None = None
    """Arguments to the entrypoint; None: the image's own."""
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    gpus: bool = False
    """Give it the GPUs of its placement (all of them if the placement names none)."""
    devices: tuple[str, ...] = ()
    """Devices of the host, passed as they are: `/dev/kfd`, or `/dev/video0:/dev/video1`."""
    networks: tuple[str, ...] = ()
    network_mode: str | None = None
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int | None = None
    ipc: str | None = None
    user: str | None = None
    working_dir: str | None = None
    memory_limit: int | None = None
    """The engine kills the container above so many bytes of RAM."""
    healthcheck: bool | Healthcheck = True
    """False: switch off the image's own HEALTHCHECK (it may probe a port we do not use)."""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    tmpfs: tuple[str, ...] = ()
    """File systems in memory: `/run`, or `/run:size=64m`."""
    labels: tuple[tuple[str, str], ...] = ()
    init: bool = True
    """Without one, a server that has no handler yet ignores SIGTERM, as PID 1 may."""
    pid: str | None = None
    hostname: str | None = None
    dns: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    privileged: bool = False
    read_only: bool = False
    stop_signal: str | None = None
    cpus: float | None = None
    cpuset: str | None = None
    runtime: str | None = None
    """The OCI runtime: `nvidia`, where the engine has one of that name."""
    platform: str | None = None


@attrs.frozen
class ProcessSpec:
    """A plain command.  `${PORT}` in any word or value is the port that it shall listen on.

    It sees the GPUs of its placement alone, by CUDA_VISIBLE_DEVICES, unless its own environment has
    that, or the placement names none.
    """

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    port: int | None = None
    """A fixed port; None: a free one, anew for every run."""


@attrs.frozen
class Endpoint:
    """Where a run listens, and how it is spoken to."""

    host: str
    port: int
    tls: bool = False
    ca: str | None = None
    """A file with the authorities that may vouch for it; None: those that the system trusts."""
    prefix: str = ""
    """What stands before every path."""
    authorization: str | None = attrs.field(default=None, repr=False)
    """Sent in place of what the client sent; a secret."""
    socket: str | None = None
    """The path of a UNIX socket, which goes before host and port."""

    @property
    def place(self) -> str:
        """Where that is, for people."""
        return self.authority if self.socket is None else f"unix:{self.socket}"

    @property
    def authority(self) -> str:
        """What stands in `Host`."""
        if self.socket is not None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.tls and self.port == 443 else f"{host}:{self.port}"


@attrs.frozen
class ExternalSpec:
    """A server that runs elsewhere, or that somebody else starts."""

    endpoint: Endpoint
    start: tuple[str, ...] = ()
    """A command that starts it and ends; none: it runs, or it does not."""
    stop: tuple[str, ...] = ()


@attrs.frozen
class Probe:
    """A question by HTTP to which a healthy server knows the answer."""

    path: str = "/health"
    status: int | None = 200
    """The status that means yes; None: any answer below 500."""


@attrs.frozen
class LiveProbe(Probe):
    """A probe that is asked of a ready server now and then."""

    every_s: Seconds = 10.0
    timeout_s: Seconds = 10.0
    """How long the answer may take: a server that generates for others is slow, not dead."""


@attrs.frozen
class FailurePattern:
    """A line of a log that tells why a server failed (docs/reference/failures.md)."""

    kind: str
    pattern: str
    """A regular expression, searched in each line of the log's tail."""
    heals: bool
    out_of_memory: bool = False
    """It wanted more memory than was there: a claim that was too small, so it is tried once more
    with a larger one."""
    advice: str | Callable[[str], str] = ""
    """What would help, for people; or what makes that out of the line, where that has figures."""


@attrs.frozen
class Call:
    """A request by HTTP that asks a server to do something; any answer below 300 means done."""

    path: str
    method: Literal["POST", "PUT", "GET"] = "POST"
    body: Json | None = None
    """JSON as text."""


@attrs.frozen
class LaunchSpec:
    """Everything that is needed to start one service and to judge it, from its template."""

    service: ServiceId
    what: ContainerSpec | ProcessSpec | ExternalSpec
    ready: Probe = Probe()
    ready_line: str | None = None
    """A regular expression: a log line that matches it makes us probe at once."""
    live: LiveProbe | None = None
    """Asked of a ready run now and then; None: a living process is enough."""
    failures: tuple[FailurePattern, ...] = ()
    sleep: tuple[Call, ...] = ()
    """Let it sleep, one after the other; the last is answered once it sleeps.  (): it cannot."""
    wake: tuple[Call, ...] = ()
    metrics: str | None = None
    """Where it tells Prometheus of itself; None: nowhere.  Asked only of a run that is awake, since
    some wake for it.  `${MODEL}` in it is the model, of a server that tells of each alone."""
    asleep_line: str | None = None
    """A regular expression: a line of its log that tells, in GiB, what its going to sleep `freed`
    of a GPU, and what is `used` of that one still; each may be missing."""
    fingerprint: str = ""
    """A hash of the configuration: a found run with another one is not adopted."""
    options: Any = None
    """What the service says to a runtime of another package, in an attrs class of that."""
    examine: Callable[[], Cause | None] | None = attrs.field(default=None, eq=False)
    """Looks at its files, in a thread, for why it may have failed, where the log does not tell."""


@attrs.frozen
class ExitReport:
    """How a run ended, with the evidence."""

    cause: Cause
    exit_code: int | None
    """None: unknown.  Negative: ended by that signal (processes)."""
    oom_killed: bool
    log_tail: tuple[str, ...]


@attrs.frozen
class FoundProcess:
    """Something of ours that an earlier life of the daemon left."""

    service: ServiceId
    run: RunId
    fingerprint: str
    placement: Placement
    alive: bool
    endpoint: Endpoint | None
    started_at: float
    """Unix time."""


@attrs.frozen
class RunFacts:
    """What there is to say about a living run, for people."""

    name: str
    """The container's name or `pid 1234`."""
    image: str | None
    pid: int | None
    ports: tuple[str, ...]
    started_at: float | None
    """Unix time."""
    memory: int | None
    """RAM in bytes by the kernel's account; None where it is not to be had."""
    processor_s: float | None = None
    """Processor time since it began, by the kernel's account; None where it is not to be had."""


@attrs.frozen
class PullProgress:
    """One step of a pull, summed over the layers."""

    status: str
    done: int
    total: int
    """Bytes known so far; 0 while nothing is known."""


Progress: TypeAlias = Callable[[PullProgress], None]


class Runtime(Protocol):
    """Starts, watches and ends runs.

    All methods are cancellable.  A cancelled call may still take effect: the caller ends such a
    run with `kill`, which is safe to call for a run that never came to be.
    Every method but `check`, `found` and `whose` is about one run, named by its service and number.
    """

    name: str

    async def check(self) -> str:
        """Return a line that describes what runs things.

        Raises:
            RuntimeUnreachable: it cannot be reached.
        """

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Tell when what runs things is lost (False, why) or back (True, ...); never returns."""

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        """Create and start the run; return as soon as its port is known, ready or not.

        A run that ended before its port was known has port 0: nobody answers there, and
        `wait_gone` tells why.

        Raises:
            RuntimeFault: it cannot start, with the cause.  Nothing of it is left.
        """

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        """Tell whether it is this run, and no stranger, that listens at the endpoint."""

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        """End the run politely, by force after `grace_s`; return when nothing of it lives."""

    async def kill(self, service: ServiceId, run: RunId) -> None:
        """End the run by force; return when nothing of it lives."""

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        """Wait until the run has ended by itself or by us, and tell how; its log is still there."""

    async def forget(self, service: ServiceId, run: RunId) -> None:
        """Remove what an ended run has left (container, state file).  Its last log stays."""

    async def found(self) -> Sequence[FoundProcess]:
        """Return what of ours is left from an earlier life, alive or dead; never a stranger's.

        The dead are told so that their numbers are known; `forget` removes them.

        Raises:
            RuntimeUnreachable: it cannot be reached.
        """

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        """Describe a living run; None when there is none."""

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        """Tell of which run each of these processes is; strangers are left out.

        Raises:
            RuntimeUnreachable: it cannot be reached.
        """

    def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield the last `tail` lines of the log, then, if asked, new ones until the run ends.

        A forgotten run still has its last log.  Lines are clean: bounded, no control characters.
        """
