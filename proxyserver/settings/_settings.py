"""What the rest of the program gets to see of the configuration: complete, checked, immutable."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

import attrs

from proxycore import ServiceId
from proxycore.config import MIB, CoreConfig, ServiceSpec
from proxyserver.about import About
from proxyserver.access import Key, is_loopback
from proxyserver.admin_paths import closed_by
from proxyserver.request_rules import RequestRules
from proxyserver.runtime._protocol import ExternalSpec, LaunchSpec
from proxyserver.templates import ModelServer, Room

from ._errors import Marks, Problem, Steps
from ._schedules import Schedule
from ._sources import Sources

NEEDS_KEYS = (
    "other machines can reach it there, and there are no keys: add one (`aiproxy keys new NAME`"
    " makes it), listen on 127.0.0.1, or say `server.allow_without_keys: true` where whoever"
    " reaches it may use it"
)
RuntimeName: TypeAlias = str
"""`docker`, `process`, `external`, or that of a runtime of another package."""


def usual_state_dir(environ: Mapping[str, str]) -> Path:
    """Return where state is kept if nobody says: by the XDG convention.

    https://specifications.freedesktop.org/basedir-spec/: relative ones are ignored.
    """
    state_home = environ.get("XDG_STATE_HOME", "")
    home = Path(environ.get("HOME") or Path.home())
    folder = Path(state_home) if state_home.startswith("/") else home / ".local/state"
    return folder / "aiproxy"


@attrs.frozen
class Tls:
    """Where the daemon speaks TLS, and by which certificate."""

    cert: Path
    key: Path | None
    host: str | None
    port: int | None
    """None: it is spoken at `server.port`, which then has no plain HTTP."""


@attrs.frozen(kw_only=True)
class ServerSettings:
    """What concerns the daemon itself."""

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 8787
    tls: Tls | None = None
    socket: Path | None = None
    """Of UNIX, on which it listens as well."""
    socket_mode: int = 0o600
    keys: tuple[Key, ...] = ()
    """Who may ask; none: whoever reaches the daemon."""
    allow_without_keys: bool = False
    """Whether other machines may ask without one."""
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"
    log_file: Path | None = None
    """Where log lines go as well."""
    log_file_max: int = 16 * MIB
    """The size at which a new one is begun, in bytes."""
    log_files_kept: int = 5
    """How many full ones are kept."""
    log_services: tuple[str, ...] = ()
    """Patterns of services whose output goes to the collector."""
    on_shutdown: Literal["stop", "leave"] = "stop"
    shutdown_s: float = 30.0
    """How long streams may go on after the daemon was asked to end."""
    docker_host: str | None = None
    """None: the engine's usual socket."""
    runtime: Literal["auto", "docker", "process"] = "auto"
    default_model: str | None = None
    """Who is meant by requests that name no model."""
    preload: tuple[ServiceId, ...] = ()
    """Who is started together with the daemon."""
    profiles: Mapping[str, tuple[ServiceId, ...]] = attrs.field(factory=dict)
    """By name, who is pinned and kept running while it is in force."""
    schedules: tuple[Schedule, ...] = ()
    """When which idle time holds; for each service the first that covers it."""
    body_max: int = 64 * MIB
    """The largest request body that is held in memory to find its `model`."""
    spill_max: int = 1024 * MIB
    """The largest one that is held on disk for that."""
    spill_total: int = 4096 * MIB
    """How much is held on disk, over all requests."""
    spill_dir: Path = attrs.field(
        default=attrs.Factory(lambda self: self.state_dir, takes_self=True)
    )
    """Where; the files have no names."""
    forwarded: bool = False
    """Whether services get `Forwarded` besides `X-Forwarded-*`."""
    via: bool = False
    """Whether `Via` is told to both sides."""
    first_byte_s: float = 3600.0
    """How long a service may take until its answer begins."""
    stall_s: float = 600.0
    """How long it may pause within its answer."""
    total_s: float = 86400.0
    """How long a request may take in all."""
    stream_after_s: float = 5.0
    """How long the client of a stream waits without a word."""
    stream_every_s: float = 10.0
    """How often it is told something from then on."""
    journal: bool = True
    usage_days: int = 400
    """How many days of statistics are kept; 0: none are."""
    policy: str = "cost_rate"
    """Who values what could be stopped; see `proxyserver.policies`."""

    @property
    def listens_beyond(self) -> bool:
        """Whether other machines can reach the daemon."""
        hosts = (self.host, (self.tls and self.tls.host) or self.host)
        return not all(map(is_loopback, hosts))

    @property
    def needs_keys(self) -> bool:
        """Whether others could use it without a key, and nobody has said that they may."""
        return self.listens_beyond and not self.keys and not self.allow_without_keys


@attrs.frozen
class Service:
    """One service: what the core, the runtime and the HTTP side need to know of it."""

    spec: ServiceSpec
    launch: LaunchSpec
    type: str
    runtime: RuntimeName
    wait_s: float
    models: ModelServer | None = None
    """How the models of this server, or of the server of this model, are loaded."""
    model: str = ""
    """Of a model: what its server calls it."""
    remedy: Callable[[Room], str] | None = None
    """Tells which of its options would make it fit into so much memory; None: nobody knows."""
    pull: Literal["never", "missing"] = "never"
    """Whether its image is fetched when it is missing."""
    about: About | None = None
    """What its model is; None: nobody knows."""
    rules: RequestRules | None = None
    """What is changed about requests for it."""
    stream_progress: Literal["none", "comments", "reasoning"] = "none"
    """How clients of streams are told what they wait for."""
    closed: tuple[str, ...] = ()
    """Patterns of what administers it, and is closed to clients; see `admin_paths`."""

    @property
    def metrics(self) -> str | None:
        """Where this service tells Prometheus of itself; None: nowhere."""
        path = self.launch.metrics
        if path is None or ("${MODEL}" in path) != bool(self.model):
            return None
        return path.replace("${MODEL}", quote(self.model, safe=""))

    def closed_by(self, method: str, target: bytes) -> str | None:
        """Return the pattern that closes a request's way to the service; None: it may pass."""
        what = self.launch.what
        prefix = what.endpoint.prefix if isinstance(what, ExternalSpec) else ""
        return closed_by(self.closed, method, prefix.encode() + target)


@attrs.frozen
class Settings:
    """A whole configuration."""

    path: Path
    server: ServerSettings
    core: CoreConfig
    services: Mapping[ServiceId, Service]
    marks: Marks = attrs.field(repr=False, eq=False)
    remarks: tuple[Problem, ...] = ()
    """What is good enough to run, but should be known: claims by estimate, claims too small."""
    sources: Sources = attrs.field(factory=Sources, repr=False, eq=False)
    """The files that it was read from."""
    folders: tuple[Path, ...] = ()
    """Where models come and go, so that there are others in the same configuration."""

    def problem(self, steps: Steps, message: str) -> Problem:
        """Say what the world has against a value: `("services", "a", "container", "image")`."""
        return self.marks.problem(steps, message)
