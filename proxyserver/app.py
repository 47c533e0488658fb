"""The only place that wires: settings become runtimes, a conductor, and a server in front of it."""

import fcntl
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import trio
from loguru import logger

from proxycore import RAM, Cause, CoreConfig, DeviceId, Fact, RunId, ServiceId, Unit

from . import http
from ._adoption import remove_unused
from ._log_place import LogPlace, check_log_file, is_output_wanted
from ._signals import wait_signals
from ._watched import watch_files, watch_folders
from .certificates import Certificate
from .conductor import Conductor
from .decisions import Decisions
from .experience import ExperienceStore
from .gauges import Gauges, Report
from .gauges.gpus import gpu_gauge
from .gauges.host import HostGauge
from .http import UpstreamConnections
from .image_gate import ImageGate
from .images import check_images
from .in_force import Each, InForce, Replacer
from .journal_file import JournalFile
from .policies import policy_named
from .profiles import Profile
from .pulls import Pulls
from .reload import Load, Reloader
from .runtime import (
    DockerRuntime,
    EngineImages,
    ExternalRuntime,
    ProcessRuntime,
    Runtime,
    RuntimeFault,
    RuntimePlace,
    RuntimeUnreachable,
    WatchedRuntime,
    instance_id,
    offer_named,
)
from .settings import ServerSettings, Settings, load
from .settings.schema import schema
from .sleepers import Sleepers
from .telemetry import Telemetry, UsageStore, log_fact, log_request

SWITCH_S = 0.001
"""How long a thread may keep the loop from running: the 5 ms of Python itself show in tokens."""
STOP_S = 30.0
"""Beyond `shutdown_s`: so long the services have to end once their requests are over or cut."""


WHOSE_S = 1.0
"""An engine that takes longer to say whose a process is does not hold up the gauge."""


class AlreadyRunning(Exception):
    """Another daemon owns the state folder."""


async def serve(
    settings: Settings,
    load_again: Load | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the daemon until a signal ends it, or until cancelled; report its URL as started.

    At SIGTERM, SIGINT or the end of its terminal it stops listening, lets requests finish within
    `shutdown_s`, and stops the services (or leaves them to the next life, by `on_shutdown`).  A
    second signal cuts the requests; a third ends it at once, and leaves what still runs to the next
    life.  Any other SIGHUP makes it read the configuration again.

    Args:
        settings: those to begin with.
        load_again: reads the configuration while it runs; None: from the same file.
        task_status: is told the URL.

    Raises:
        AlreadyRunning: another daemon owns the state folder.
        http.ListenError: the address is taken, or is not ours.
    """
    sys.setswitchinterval(SWITCH_S)
    server = settings.server
    for remark in settings.remarks:
        logger.info("{}", remark)
    with _owned(server.state_dir):
        journal_file = JournalFile(server.state_dir / "journal") if server.journal else None
        profile = Profile.remembered(server.state_dir)
        begun_with = profile.applied(settings)
        in_force = InForce.of(begun_with)
        runtimes = _runtimes(in_force)

        def tell(fact: Fact) -> None:
            log_fact(fact, trio.current_time())
            gauges.note(fact)
            telemetry.note(fact)

        policy = policy_named(server.policy)
        decisions = Decisions(policy.name, counted=in_force.counted)

        def measure() -> None:
            gauges.measure_now()

        pulls = Pulls(EngineImages(server.docker_host))

        def pulled(service: ServiceId, from_at: float, to_at: float) -> None:
            telemetry.pulled(service, from_at, to_at)

        gate = ImageGate(in_force.services, pulls, pulled=pulled)
        conductor: Conductor[UpstreamConnections] = Conductor(
            begun_with.core,
            in_force.services,
            runtimes,
            connect=UpstreamConnections,
            tell=tell,
            journal_file=journal_file,
            policy=policy,
            decisions=decisions,
            measure=measure,
            sleepers=Sleepers(server.state_dir / "sleepers.json"),
            gate=gate,
        )
        gauges, follow_devices = _gauges(
            settings.core, runtimes, conductor, lambda *used: telemetry.processor(*used)
        )

        def ended_by(service: ServiceId) -> Cause | None:
            report = conductor.report(service)
            return None if report is None else report.cause

        telemetry = Telemetry(conductor.view, gauges, ended_by, conductor.milestones, http.VERSION)

        telemetry.connect(os.environ)
        if server.usage_days:
            telemetry.keep_usage(UsageStore(server.state_dir / "usage.db", server.usage_days))

        def wants_output(service: ServiceId) -> bool:
            known = in_force.services.get(service)
            return known is not None and is_output_wanted(in_force.server, known)

        telemetry.follow_outputs(conductor.log_lines, wants_output)
        if server.log_services and not telemetry.takes_output:
            logger.warning(
                "server.log.services: there is no collector that takes lines: name one in"
                " OTEL_EXPORTER_OTLP_ENDPOINT"
            )

        def on_request(record: http.RequestRecord) -> None:
            log_request(record)
            telemetry.request(record)

        experience = ExperienceStore(
            server.state_dir / "experience.db",
            Each(in_force.services, lambda service: service.launch.fingerprint),
        )

        async def remember(used: Iterable[str]) -> None:
            file = server.state_dir / "runtimes"
            await remove_unused(file, tuple(used), lambda name: _runtime(name, in_force))

        await remember(runtimes)
        async with trio.open_nursery() as nursery:
            patience = trio.CancelScope()
            replacer = Replacer(
                settings,
                in_force,
                conductor,
                experience,
                runtimes,
                lambda name: _runtime(name, in_force),
                remember,
                _follower(server, follow_devices, telemetry.settle),
                profile,
                nursery,
            )
            reloader = Reloader(load_again or _loader(settings.path), _check, replacer)
            # Before anything can be started: a signal that came earlier would leave it behind.
            ending = await nursery.start(
                wait_signals,
                patience,
                nursery.cancel_scope,
                lambda: reloader.reload_nowait("SIGHUP"),
            )
            await nursery.start(pulls.run)
            await nursery.start(conductor.run)
            conductor.note(experience.load(trio.current_time()))
            nursery.start_soon(experience.keep, conductor.view)
            nursery.start_soon(gauges.run)
            nursery.start_soon(telemetry.run)
            nursery.start_soon(replacer.follow_schedules)
            reloading = await nursery.start(_reloading, reloader)
            app = http.make_app(
                conductor,
                in_force,
                gauges,
                decisions,
                pulls,
                gate,
                telemetry,
                reloader,
                replacer,
                on_request=on_request,
                begin_trace=telemetry.begin_trace,
                schema=schema,
                nursery=nursery,
                patience=lambda: _patience(in_force),
            )
            with patience:
                async with trio.open_nursery() as serving:
                    listen = partial(
                        http.serve,
                        app,
                        _places(server),
                        stop=ending,
                        drain_s=lambda: in_force.server.shutdown_s,
                    )
                    urls = await serving.start(listen)
                    logger.info("listening on {}", ", ".join(urls))
                    task_status.started(urls[0])
                    replacer.begin()
                    await ending.wait()
                    reloading.cancel()  # Who leaves changes nothing any more.
                    pulls.close()
                    if in_force.server.on_shutdown == "stop":
                        await _stop_services(conductor, in_force.server.shutdown_s)
            if patience.cancelled_caught and in_force.server.on_shutdown == "stop":
                await _stop_services(conductor, 0.0)
            nursery.cancel_scope.cancel()
        await telemetry.close()
        logger.info("stopped")


def _places(server: ServerSettings) -> list[http.Place]:
    """Return where to listen, the main one first."""
    places: list[http.Place] = []
    tls = server.tls
    if tls is None or tls.port is not None:
        places.append(http.TcpPlace(server.host, server.port))
    if tls is not None:
        certificate = Certificate(tls.cert, tls.key)
        if tls.port is None:
            places.append(http.TcpPlace(server.host, server.port, certificate))
        else:
            host = tls.host or server.host
            places.append(http.TcpPlace(host, tls.port, certificate, "server.tls.port"))
    if server.socket is not None:
        places.append(http.UnixPlace(server.socket, server.socket_mode))
    return places


async def _reloading(
    reloader: Reloader, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reloader.run)
            nursery.start_soon(watch_files, reloader)
            nursery.start_soon(watch_folders, reloader)


def _loader(path: Path) -> Load:
    return lambda text: load(path, os.environ, text=text)


async def _check(settings: Settings) -> None:
    check_log_file(settings)
    with suppress(RuntimeUnreachable):  # As at the start: that is no mistake of the configuration.
        await check_images(settings)


def _follower(
    server: ServerSettings,
    follow_devices: Callable[[CoreConfig], None],
    follow_outputs: Callable[[], None],
) -> Callable[[Settings], None]:
    """Return what lets log and gauges go by the settings in force."""
    log = LogPlace.of(server)

    def follow(settings: Settings) -> None:
        nonlocal log
        wanted = LogPlace.of(settings.server)
        if wanted != log:
            log = wanted
            log.configure()
        follow_devices(settings.core)
        follow_outputs()

    return follow


def _patience(in_force: InForce) -> http.Patience:
    server = in_force.server
    return http.Patience(server.first_byte_s, server.stall_s, server.total_s)


async def _stop_services(conductor: Conductor[UpstreamConnections], within_s: float) -> None:
    with trio.move_on_after(within_s + STOP_S) as scope:
        await conductor.shutdown(within_s)
    if scope.cancelled_caught:
        logger.error("some services did not end; the next start will remove them")


def _runtime(name: str, in_force: InForce) -> Runtime:
    server = in_force.server
    instance = instance_id(server.state_dir)
    if name == "docker":
        return DockerRuntime(
            instance=instance, docker_host=server.docker_host, state_dir=server.state_dir
        )
    if name == "external":
        specs = Each(in_force.services, lambda service: service.launch)
        return ExternalRuntime(state_dir=server.state_dir, specs=specs)
    if name == "process":
        return ProcessRuntime(instance=instance, state_dir=server.state_dir)
    place = RuntimePlace(f"{instance}-{name}", server.state_dir / "plugins" / name)
    return WatchedRuntime(name, lambda: offer_named(name).plugin.make(place))


def _runtimes(in_force: InForce) -> dict[str, Runtime]:
    """Make the runtimes that services use; an engine that nobody uses need not be there."""
    used = dict.fromkeys(str(service.runtime) for service in in_force.services.values())
    return {name: _runtime(name, in_force) for name in used}


def _gauges(
    config: CoreConfig,
    runtimes: Mapping[str, Runtime],
    conductor: Conductor[UpstreamConnections],
    processor: Callable[[ServiceId, RunId, float], None],
) -> tuple[Gauges, Callable[[CoreConfig], None]]:
    """Return what measures, and what lets it measure the devices of another configuration."""

    async def whose(pids: Collection[int]) -> Mapping[int, RunId]:
        owners: dict[int, RunId] = {}
        for runtime in runtimes.values():
            # Until an engine is back, what is new in it counts as foreign.
            with trio.move_on_after(WHOSE_S), suppress(RuntimeFault):
                owners |= await runtime.whose(pids)
        return owners

    async def memory_by_run() -> Mapping[RunId, int | None]:
        memory: dict[RunId, int | None] = {}
        for service in conductor.view().services:
            # What a model takes is seen as its host's.
            if service.run is not None and service.host is None:
                facts = await conductor.facts(service.id)
                memory[service.run] = None if facts is None else facts.memory
                if facts is not None and facts.processor_s is not None:
                    processor(service.id, service.run, facts.processor_s)
        return memory

    gpus: list[DeviceId] = []
    report = Report({}, conductor.note)

    def follow(config: CoreConfig) -> None:
        headrooms = {one.id: one.headroom for one in config.devices if one.unit is Unit.BYTES}
        gpus[:] = (device for device in headrooms if device != RAM)
        report.follow(headrooms)

    follow(config)
    return Gauges([gpu_gauge(gpus, whose), HostGauge(memory_by_run)], report), follow


@contextmanager
def _owned(state_dir: Path) -> Iterator[None]:
    """Own the state folder: two daemons on one would remove each other's runs."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another daemon uses {state_dir}; stop it, or set server.state_dir"
            ) from None
        yield
