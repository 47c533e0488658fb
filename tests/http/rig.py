"""A server under test between raw sockets: scripted upstreams below, raw clients above."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from proxycore import (
    CoreConfig,
    CoreView,
    DeviceId,
    DeviceSpec,
    DeviceView,
    Experience,
    RunId,
    ServiceId,
    ServiceSpec,
    ServiceView,
    State,
)
from proxyserver._ask import NoAnswer
from proxyserver._beside import beside
from proxyserver.about import About
from proxyserver.access import Key
from proxyserver.admin_paths import closed_by
from proxyserver.decisions import Decisions
from proxyserver.gauges import Health, Measurement
from proxyserver.http import (
    App,
    Patience,
    RequestRecord,
    TcpPlace,
    UnixPlace,
    UpstreamConnections,
    make_app,
    serve,
)
from proxyserver.http._ports import Progress
from proxyserver.http._trace import Trace
from proxyserver.milestones import Milestones
from proxyserver.pulls import Pulls
from proxyserver.refused import Refused
from proxyserver.request_rules import RequestRules
from proxyserver.runtime import Endpoint, ExitReport, RunFacts
from proxyserver.telemetry import Telemetry
from proxyserver.wire import RequestHead
from tests.rig.fake_images import FakeImages

from .described import check
from .fake_configuration import FakeConfiguration as FakeConfiguration
from .messages import EVENTS as EVENTS
from .messages import GET as GET
from .messages import Script as Script
from .messages import answer as answer
from .messages import answering as answering
from .messages import chunk as chunk
from .messages import raw as raw
from .sockets import PATIENCE_S as PATIENCE_S
from .sockets import PROMPT_S as PROMPT_S
from .sockets import Wire as Wire
from .ways import LANE as LANE
from .ways import connect, place_for_clients


@attrs.frozen
class Kind:
    spec: ServiceSpec
    type: str = "custom"
    runtime: str = "process"
    closed: tuple[str, ...] = ("/sleep", "?autoload")
    metrics: str | None = "/metrics"
    rules: RequestRules | None = None
    stream_progress: Progress = "none"
    about: About | None = None

    def closed_by(self, method: str, target: bytes) -> str | None:
        return closed_by(self.closed, method, target)


@attrs.frozen
class Server:
    body_max: int = 1024 * 1024
    listens_beyond: bool = False
    keys: tuple[Key, ...] = ()
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    spill_max: int = 0
    spill_total: int = 0
    spill_dir: Path = Path("/nowhere")
    stream_after_s: float = 5.0
    stream_every_s: float = 10.0
    forwarded: bool = False
    via: bool = False
    default_model: str | None = None


@attrs.define(eq=False)
class Settings:
    core: CoreConfig
    services: Mapping[ServiceId, Kind]
    server: Server = Server()


@attrs.frozen
class Slot:
    run: RunId
    connections: UpstreamConnections


@attrs.frozen
class RuntimeState:
    ok: bool
    message: str


@attrs.define(eq=False)
class FakeConductor:
    """A conductor of services that run, or refuse, or keep waiting, as the test says."""

    config: CoreConfig
    connections: dict[str, UpstreamConnections] = attrs.field(factory=dict)
    refusals: dict[str, Refused] = attrs.field(factory=dict)
    reports: dict[str, ExitReport] = attrs.field(factory=dict)
    lines: list[str] = attrs.field(factory=list)
    loading: dict[str, float] = attrs.field(factory=dict)
    """How much of a load is done."""
    starting: dict[str, float] = attrs.field(factory=dict)
    """Who starts since 5 s, and how long that took before."""
    hold: trio.Event | None = None
    """Nobody gets a place before it is set."""
    asked: list[ServiceId] = attrs.field(factory=list)
    acts: list[tuple[str, str]] = attrs.field(factory=list)
    silent: bool = False  # No server answers a question of ours.
    waiting: int = 0
    in_flight: int = 0
    runtime: RuntimeState = RuntimeState(True, "plain processes")

    def view(self) -> CoreView:
        return CoreView(
            services=tuple(
                ServiceView(
                    id=spec.id,
                    state=self._state(spec.id),
                    run=RunId(number),
                    why="it answers",
                    since_at=trio.current_time() - 5,
                    placement=None,
                    waiting=self.waiting,
                    in_flight=self.in_flight,
                    idle_until=None,
                    retry_at=None,
                    failures=0,
                    cause=None,
                    lost=None,
                    experience=Experience(load_s=self.starting.get(spec.id)),
                    host=spec.host,
                )
                for number, spec in enumerate(self.config.services, 7)
            ),
            devices=tuple(
                DeviceView(device.id, device.capacity, device.headroom, 0, 0, device.usable)
                for device in self.config.devices
            ),
        )

    def _state(self, service: ServiceId) -> State:
        ended = {("stop", service), ("force", service)} & set(self.acts)
        if service in self.starting:
            return State.STARTING
        return State.DOWN if ended else State.READY

    @asynccontextmanager
    async def slot(
        self,
        service: ServiceId,
        *,
        wait_s: float | None = None,
        request: str | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Slot]:
        self.asked.append(service)
        self.waiting += 1
        try:
            if self.hold is not None:
                await beside(meanwhile, self.hold.wait)
            await trio.lowlevel.checkpoint()
            if service in self.refusals:
                raise self.refusals[service]
        finally:
            self.waiting -= 1
        self.in_flight += 1
        try:
            yield Slot(RunId(7), self.connections[service])
        finally:
            self.in_flight -= 1

    async def start(self, service: ServiceId, *, restart: bool = False) -> RunId:
        self.acts.append(("restart" if restart else "start", service))
        if self.hold is not None:
            await self.hold.wait()
        if service in self.refusals:
            raise self.refusals[service]
        return RunId(7)

    async def stop(self, service: ServiceId, *, force: bool = False) -> None:
        self.acts.append(("force" if force else "stop", service))
        if self.hold is not None:
            await self.hold.wait()

    async def sleep(self, service: ServiceId) -> None:
        self.acts.append(("sleep", service))

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        await trio.lowlevel.checkpoint()
        self.acts.append(("metrics", service))
        if self.silent:
            raise NoAnswer("it hung up")
        return 200, f"served_total 1\n# {authorization}\n".encode()

    def report(self, service: ServiceId) -> ExitReport | None:
        return self.reports.get(service)

    def progress(self, service: ServiceId) -> float | None:
        return self.loading.get(service)

    async def facts(self, service: ServiceId) -> RunFacts | None:
        return RunFacts("pid 12", None, 12, ("127.0.0.1:1",), 1.5, 4096)

    async def log_lines(self, service: ServiceId, *, tail: int, follow: bool) -> AsyncIterator[str]:
        for line in self.lines[len(self.lines) - tail :]:
            yield line
        if follow:
            await trio.sleep_forever()

    def runtimes(self) -> Mapping[str, RuntimeState]:
        return {"process": self.runtime}


@attrs.define(eq=False)
class FakeGauges:
    """Gauges that say what the test says."""

    working: dict[str, Health] = attrs.field(factory=dict)
    fresh: dict[str, Measurement] = attrs.field(factory=dict)
    old: dict[str, Measurement] = attrs.field(factory=dict)

    def health(self) -> Mapping[str, Health]:
        return self.working

    def last(self, device: DeviceId) -> Measurement | None:
        return self.fresh.get(device) or self.old.get(device)

    def measurement(self, device: DeviceId) -> Measurement | None:
        return self.fresh.get(device)


@attrs.define(eq=False)
class FakeGate:
    """Knows the images that the test says."""

    images: dict[str, str] = attrs.field(factory=dict)
    waiters: dict[str, int] = attrs.field(factory=dict)

    def image_of(self, service: ServiceId) -> str | None:
        return self.images.get(service)

    def waiting(self, service: ServiceId) -> int:
        return self.waiters.get(service, 0)


CONFIG = CoreConfig(
    devices=tuple(DeviceSpec(DeviceId(name), 1000, 10) for name in ("gpu0", "gpu1", "ram")),
    services=(
        ServiceSpec(ServiceId("coder"), aliases=("gpt-4o",)),
        ServiceSpec(ServiceId("many")),
        ServiceSpec(ServiceId("many/tiny"), host=ServiceId("many"), aliases=("small",)),
    ),
)


@attrs.define(eq=False)
class Rig:
    """The server, listening."""

    port: int
    conductor: FakeConductor
    gauges: FakeGauges
    decisions: Decisions
    pulls: Pulls
    images: FakeImages
    gate: FakeGate
    configuration: FakeConfiguration
    records: list[RequestRecord]
    app: App
    settings: Settings
    stop: trio.Event
    ended: trio.Event
    upstreams: list[Wire]  # Every connection that the service `coder` ever got.
    nursery: trio.Nursery
    """Ends with the rig."""
    clients: list[Wire] = attrs.field(factory=list)
    socket: Path | None = None
    """Where it listens, if it is no port."""

    @property
    def url(self) -> str:
        return f"{'https' if LANE.get() in ('tls', 'h2') else 'http'}://127.0.0.1:{self.port}"

    async def connect(self) -> Wire:
        wire = Wire(await connect(self.port, self.socket, self.nursery))
        self.clients.append(wire)
        return wire

    def close(self) -> None:
        for wire in (*self.clients, *self.upstreams):
            wire.close()
        for connections in self.conductor.connections.values():
            connections.close()

    async def ask(self, request: bytes) -> Wire:
        wire = await self.connect()
        await wire.send(request)
        return wire

    async def get(self, path: str, *headers: str, method: str = "GET") -> tuple[int, bytes, bytes]:
        """Return status, head and body of an answer, which has to be as the document says."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        wire = await self.ask(("\r\n".join(lines) + "\r\n\r\n").encode())
        head, body = await wire.head(), await wire.rest()
        status = int(head.split()[1])
        if body and b"\r\ncontent-type: application/json\r\n" in head:
            check(method, path, status, json.loads(body))
        return status, head, body

    async def record(self, number: int = 0) -> RequestRecord:
        """Return the record of a request that is over, or about to be."""
        with trio.fail_after(PROMPT_S):
            while len(self.records) <= number:  # noqa: ASYNC110
                await trio.sleep(0.001)
        return self.records[number]


@asynccontextmanager
async def running(
    script: Script | None = None,
    *,
    drain_s: float = 5.0,
    connections_max: int | None = None,
    patience: Patience | None = None,
    begin_trace: Callable[[RequestHead], Trace] | None = None,
    server: Server | None = None,
    rules: Mapping[str, RequestRules] | None = None,
) -> AsyncIterator[Rig]:
    """Run the server with an upstream that treats each of its connections by the script."""
    conductor = FakeConductor(CONFIG)
    gauges = FakeGauges()
    decisions = Decisions("cost_rate")
    images, gate = FakeImages(second_s=0.01), FakeGate()
    configuration = FakeConfiguration()
    pulls = Pulls(images)
    place = place_for_clients()
    kinds = {spec.id: Kind(spec, rules=(rules or {}).get(spec.id)) for spec in CONFIG.services}
    settings = Settings(CONFIG, kinds, server or Server())
    records: list[RequestRecord] = []
    stop, ended = trio.Event(), trio.Event()
    upstreams: list[Wire] = []

    async def upstream(stream: trio.SocketStream) -> None:
        wire = Wire(stream)
        upstreams.append(wire)
        if script is not None:
            await script(wire)
        wire.close()

    async def listen(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve(
            app,
            [place],
            stop=stop,
            drain_s=lambda: drain_s,
            connections_max=connections_max,
            fast=LANE.get() != "hypercorn",
            task_status=task_status,
        )
        ended.set()

    async with trio.open_nursery() as nursery, trio.open_nursery() as background:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, upstream, 0, host="127.0.0.1")
        )
        _, port = listeners[0].socket.getsockname()
        for service in CONFIG.services:
            conductor.connections[service.id] = UpstreamConnections(Endpoint("127.0.0.1", port))
        app = make_app(
            conductor,
            settings,
            gauges,
            decisions,
            pulls,
            gate,
            Telemetry(conductor.view, gauges, lambda service: None, lambda run: Milestones(), "0"),
            *(configuration, configuration.profiles),
            on_request=records.append,
            schema=lambda: {"title": "of the configuration"},
            nursery=background,
            patience=lambda: patience or Patience(),
            begin_trace=begin_trace,
        )
        urls: list[str] = await nursery.start(listen)
        port = int(urls[0].rsplit(":", 1)[1]) if isinstance(place, TcpPlace) else 0
        await background.start(pulls.run)
        rig = Rig(
            *(port, conductor, gauges, decisions, pulls, images, gate, configuration),
            *(records, app, settings, stop, ended, upstreams, nursery),
            socket=place.path if isinstance(place, UnixPlace) else None,
        )
        try:
            yield rig
        finally:
            stop.set()
            rig.close()
            background.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
