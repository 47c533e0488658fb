"""What users write, key by key, with the defaults; docs/reference/configuration.md explains each.

An entry says what the file says: units are read and shapes are checked, nothing more.
None means that the key is absent, so that the next in line (the template, `server:`) decides.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import attrs

from proxycore import config as core
from proxyserver.access import Role
from proxyserver.runtime._protocol import Call, LiveProbe, Mount, PortBinding, Probe, Ulimit
from proxyserver.shapes import (
    AdminPath,
    Alias,
    Command,
    Count,
    Environment,
    EnvironmentFiles,
    ExistingFile,
    ExtraHosts,
    Gpus,
    HeaderName,
    Headers,
    HostPath,
    Hours,
    IdleTime,
    JsonValues,
    KeyHash,
    ListenHost,
    Mode,
    Name,
    Natural,
    Origin,
    OwnHost,
    Pairs,
    Port,
    PortOrAny,
    Probing,
    Processors,
    Regex,
    Seconds,
    Size,
    Texts,
    Timezone,
    Url,
    Word,
)

Live: TypeAlias = LiveProbe | Literal[False]
"""A probe, or false: a living process is enough."""
MetricsPath: TypeAlias = str | Literal[False]
"""A path, or false: nobody asks."""
RuntimeChoice: TypeAlias = Literal["auto", "docker", "process"]
PullPolicy: TypeAlias = Literal["never", "missing"]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Progress: TypeAlias = Literal["none", "comments", "reasoning"]
"""Not `always`, as compose has it: a start must not hang on a registry, nor become another server
behind the back of whoever did not ask for one."""


@attrs.frozen
class DeviceEntry:
    """One GPU.  A bare size is its `memory`."""

    memory: Size
    headroom: Size | None = None


@attrs.frozen
class LogEntry:
    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
    file: HostPath | None = None
    file_max: Size = 16 * core.MIB
    files_kept: Count = 5
    services: tuple[str, ...] = ()


@attrs.frozen
class DockerEntry:
    host: str | None = None


@attrs.frozen
class TlsEntry:
    """Where the proxy speaks TLS, and by which certificate."""

    cert: ExistingFile
    key: ExistingFile | None = None
    host: ListenHost | None = None
    port: PortOrAny | None = None


@attrs.frozen
class KeyEntry:
    """One API key: its hash, or where it is to be found."""

    hash: KeyHash | None = None
    key: Word | None = None
    key_file: ExistingFile | None = None
    roles: tuple[Role, ...] = ("inference",)
    services: tuple[str, ...] = ("*",)
    requests_per_minute: Count | None = None
    concurrency: Count | None = None


@attrs.frozen
class ScheduleEntry:
    """An idle time that holds at certain hours."""

    idle_s: IdleTime
    hours: Hours = "00:00-24:00"
    days: tuple[Day, ...] = get_args(Day)
    timezone: Timezone | None = None
    services: tuple[str, ...] | None = None


@attrs.frozen
class ServerEntry:
    host: ListenHost = "127.0.0.1"
    port: PortOrAny = 8787
    tls: TlsEntry | None = None
    socket: HostPath | None = None
    socket_mode: Mode = 0o600
    keys: Mapping[Name, KeyEntry] | None = None
    allow_without_keys: bool = False
    hosts: tuple[OwnHost, ...] = ()
    cors: tuple[Origin, ...] = ()
    state_dir: HostPath | None = None
    devices: Mapping[Name, DeviceEntry] | None = None
    ram: DeviceEntry | None = None
    headroom: Size = core.HEADROOM
    wait_s: Seconds = core.WAIT_S
    start_s: Seconds = core.START_S
    start_max_s: Seconds = core.START_MAX_S
    idle_s: IdleTime = "auto"
    drain_s: Seconds = core.DRAIN_S
    drain_cuts: bool = False
    grace_s: Seconds = core.GRACE_S
    queue_max: Count = core.QUEUE_MAX
    on_shutdown: Literal["stop", "leave"] = "stop"
    shutdown_s: Seconds = 30.0
    log: LogEntry = LogEntry()
    docker: DockerEntry = DockerEntry()
    runtime: RuntimeChoice = "auto"
    pull: PullPolicy = "never"
    default_model: Alias | None = None
    preload: tuple[str, ...] = ()
    profiles: Mapping[Name, tuple[str, ...]] | None = None
    schedules: tuple[ScheduleEntry, ...] = ()
    body_max: Size = 64 * core.MIB
    spill_max: Size = 1024 * core.MIB
    spill_total: Size = 4096 * core.MIB
    spill_dir: HostPath | None = None
    forwarded: bool = False
    via: bool = False
    first_byte_s: Seconds = 3600.0
    stall_s: Seconds = 600.0
    total_s: Seconds = 86400.0
    stream_after_s: Seconds = 5.0
    stream_every_s: Seconds = 10.0
    stream_progress: Progress = "none"
    journal: bool = True
    usage_days: Natural = 400
    policy: Word = "cost_rate"


@attrs.frozen
class VramClaim:
    """`vram:` is one total, or an amount for each device."""

    total: Size | None = None
    by_device: Mapping[str, Size] = attrs.field(factory=dict)


@attrs.frozen
class MemoryEntry:
    vram: VramClaim | None = None
    devices: tuple[str, ...] | None = None
    ram: Size | None = None


@attrs.frozen
class HealthcheckEntry:
    """A bare `false` disables it."""

    test: Probing | None = None
    interval: Seconds | None = None
    timeout: Seconds | None = None
    start_period: Seconds | None = None
    retries: Count | None = None
    disable: bool = False


@attrs.frozen
class DeployDeviceEntry:
    capabilities: tuple[str, ...]
    driver: str | None = None
    count: Gpus | None = None


@attrs.frozen
class ReservationsEntry:
    devices: tuple[DeployDeviceEntry, ...] = ()


@attrs.frozen
class LimitsEntry:
    memory: Size | None = None
    cpus: Processors | None = None


@attrs.frozen
class ResourcesEntry:
    reservations: ReservationsEntry = ReservationsEntry()
    limits: LimitsEntry = LimitsEntry()


@attrs.frozen
class DeployEntry:
    """Of compose's `deploy:`, what concerns one container."""

    resources: ResourcesEntry = ResourcesEntry()


@attrs.frozen
class ContainerEntry:
    image: Word | None = None
    command: Command | None = None
    entrypoint: Command | None = None
    port: Port | None = None
    environment: Environment | None = None
    env_file: EnvironmentFiles | None = None
    volumes: tuple[Mount, ...] | None = None
    ports: tuple[PortBinding, ...] | None = None
    gpus: Gpus | None = None
    deploy: DeployEntry | None = None
    devices: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    network_mode: str | None = None
    extra_hosts: ExtraHosts | None = None
    shm_size: Size | None = None
    ipc: str | None = None
    user: Word | None = None
    working_dir: str | None = None
    mem_limit: Size | None = None
    cpus: Processors | None = None
    cpuset: Word | None = None
    ulimits: tuple[Ulimit, ...] | None = None
    tmpfs: Texts | None = None
    group_add: tuple[Word, ...] | None = None
    cap_add: tuple[str, ...] | None = None
    cap_drop: tuple[str, ...] | None = None
    security_opt: tuple[str, ...] | None = None
    privileged: bool | None = None
    read_only: bool | None = None
    sysctls: Pairs | None = None
    dns: Texts | None = None
    hostname: str | None = None
    pid: str | None = None
    init: bool | None = None
    stop_signal: Word | None = None
    labels: Pairs | None = None
    runtime: str | None = None
    platform: str | None = None
    healthcheck: HealthcheckEntry | None = None


@attrs.frozen
class ProcessEntry:
    command: Command | None = None
    environment: Environment | None = None
    working_dir: HostPath | None = None
    port: Port | None = None


@attrs.frozen
class ExternalEntry:
    url: Url | None = None
    socket: HostPath | None = None
    health: Word | None = None
    start: Command | None = None
    stop: Command | None = None
    authorization: Word | None = None
    ca: ExistingFile | None = None


@attrs.frozen
class ModelEntry:
    """A model that the server loads and unloads; what is left out is as the server has it."""

    name: Alias
    aliases: tuple[Alias, ...] = ()
    memory: MemoryEntry = MemoryEntry()
    load_s: Seconds | None = None
    concurrency: Count | None = None
    priority: int | None = None
    pinned: bool = False
    wait_s: Seconds | None = None
    idle_s: IdleTime | None = None
    queue_max: Count | None = None


@attrs.frozen
class HeadersEntry:
    """What becomes of the headers of a request."""

    set: Headers | None = None
    remove: tuple[HeaderName, ...] = ()


@attrs.frozen
class BodyEntry:
    """What becomes of the body of a request that names the model in one way."""

    model: Word | None = None
    set: JsonValues | None = None
    default: JsonValues | None = None
    strip: tuple[str, ...] = ()


@attrs.frozen
class RequestsEntry(BodyEntry):
    """What becomes of requests on their way to a service."""

    names: Mapping[Alias, BodyEntry] | None = None
    headers: HeadersEntry = HeadersEntry()
    size_max: Size | None = None
    first_byte_s: Seconds | None = None
    stall_s: Seconds | None = None
    total_s: Seconds | None = None


@attrs.frozen
class ServiceEntry:
    """What every service may have; the options of its type stand beside these keys."""

    type: str | None = None
    runtime: Word | None = None
    container: ContainerEntry | None = None
    process: ProcessEntry | None = None
    external: ExternalEntry | None = None
    pull: PullPolicy | None = None
    stream_progress: Progress | None = None
    memory: MemoryEntry = MemoryEntry()
    load_s: Seconds | None = None
    aliases: tuple[Alias, ...] = ()
    concurrency: Count | None = None
    priority: int = 0
    pinned: bool = False
    wait_s: Seconds | None = None
    start_s: Seconds | None = None
    start_max_s: Seconds | None = None
    idle_s: IdleTime | None = None
    drain_s: Seconds | None = None
    drain_cuts: bool | None = None
    grace_s: Seconds | None = None
    queue_max: Count | None = None
    requests: RequestsEntry = RequestsEntry()
    ready: Probe | None = None
    ready_line: Regex | None = None
    live: Live | None = None
    sleep: tuple[Call, ...] = ()
    wake: tuple[Call, ...] = ()
    asleep: MemoryEntry | None = None
    wake_s: Seconds | None = None
    metrics: MetricsPath | None = None
    admin_paths: tuple[AdminPath, ...] = ()
    allow_admin: Literal[True, False] | tuple[AdminPath, ...] = False
    models: tuple[ModelEntry, ...] = ()
    models_max: Count | None = None
