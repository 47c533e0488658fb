"""The command `aiproxy`: what people and scripts type.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon there, 4 the service is not ready, 5 a
reload would change something.
A command imports what it needs when it runs, so that the next one starts at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from ._bench_command import bench
from ._chat_command import chat
from ._command import FAILED, USAGE, CommandFailed, Json, fail, print_json
from ._completion_command import completion_of
from ._compose_command import import_compose
from ._configuration import Config, config_path
from ._console import is_rich
from ._daemon_commands import explain, logs, ps, restart, sleep, start, status, stop, top
from ._doctor_command import doctor
from ._init_command import init
from ._keys_command import keys_app
from ._lab_commands import replay, simulate
from ._live_commands import events, requests
from ._plugins_command import plugins
from ._profile_command import profile
from ._pull_command import pull
from ._reload_commands import diff, reload
from ._schema_command import schema
from ._show_command import show
from ._usage_command import usage
from .shapes import CacheType

if TYPE_CHECKING:
    from proxyserver.reload import Load
    from proxyserver.settings import Settings

PORTS = Number(gte=0, lte=65535)
AtLeast0 = Annotated[int | None, Parameter(validator=Number(gte=0))]
AtLeast1 = Annotated[int | None, Parameter(validator=Number(gte=1))]


def _version() -> str:
    from importlib.metadata import version

    return version("ai-inference-proxy")


app = App(
    name="aiproxy",
    help="One endpoint for every inference server on this machine.",
    version=_version,
    help_formatter="default" if is_rich(sys.stdout) else "plain",
)
config_app = App(name="config", help="Look at the configuration, and have it read again.")
app.command(config_app)
app.command(keys_app)
config_app.command(init)
config_app.command(schema)
config_app.command(show)
config_app.command(import_compose)
config_app.command(reload)
config_app.command(diff)
of_daemon = (status, top, ps, start, stop, sleep, restart, logs, explain, events, requests)
for command in (*of_daemon, usage, profile, chat, bench, pull, doctor, simulate, replay, plugins):
    app.command(command)
app.command(completion_of(app))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        print(f"aiproxy: {error}\nSee `aiproxy --help`.", file=sys.stderr)
        return USAGE
    except CommandFailed as failed:
        if str(failed):
            print(failed, file=sys.stderr)
        return failed.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`) has enough.  Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@app.command
def serve(
    *,
    config: Config = None,
    host: Annotated[str | None, Parameter(help="In place of `server.host`.")] = None,
    port: Annotated[
        int | None, Parameter(help="In place of `server.port`.", validator=PORTS)
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, Parameter(help="In place of `server.log.format`.")
    ] = None,
) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C."""
    import attrs

    from proxyserver.settings import NEEDS_KEYS, Settings, SettingsError, load

    from ._log_place import check_log_file

    path = config_path(config)

    def read(text: str | None = None) -> Settings:
        """Read the file, at the start and at each reload: what is said here wins every time."""
        settings = load(path, os.environ, text=text)
        said = settings.server
        server = attrs.evolve(
            said,
            host=said.host if host is None else host,
            port=said.port if port is None else port,
            log_format=log_format or said.log_format,
        )
        return attrs.evolve(settings, server=server)

    try:
        settings = read()
        check_log_file(settings)
        _check_images(settings)
    except SettingsError as error:
        raise CommandFailed(FAILED, str(error)) from None
    if settings.server.needs_keys:
        fail(f"--host {host}: {NEEDS_KEYS}", USAGE)
    _serve(settings, read)


@app.command
def demo(
    *,
    once: Annotated[
        bool, Parameter(negative=(), help="Play the requests, show the swap, and end.")
    ] = False,
    port: Annotated[
        int | None, Parameter(help="Default: 8787, or a free one.", validator=PORTS)
    ] = None,
    parts: Annotated[
        Literal["auto", "real", "small"],
        Parameter(help="A real llama-server, a small stand-in, or what can be had."),
    ] = "auto",
    json: Json = False,
) -> None:
    """Try it: two real models where only one fits."""
    from .demo import DemoFailed, run_demo

    if json and not once:
        fail("--json is for --once", USAGE)
    try:
        run_demo(once=once, port=port, parts=parts, json=json)
    except DemoFailed as error:
        fail(f"demo: {error}")


@app.command
def inspect(
    file: Annotated[Path, Parameter(help="A GGUF; of a split one, the first part.")],
    /,
    *,
    ctx: Annotated[AtLeast0, Parameter(help="Tokens over all slots; default: as trained.")] = None,
    parallel: Annotated[AtLeast1, Parameter(help="Slots; default: llama-server's own.")] = None,
    cache_type: Annotated[CacheType, Parameter(help="Of keys and of values.")] = "f16",
    gpu_layers: Annotated[AtLeast0, Parameter(help="Layers on the GPU; default: all.")] = None,
    json: Json = False,
) -> None:
    """Tell what a GGUF file is, and what memory llama-server will take for it."""
    from ._inspect import document, findings, show
    from .gguf import GgufError, Setting

    try:
        found = findings(file, Setting(ctx, parallel, cache_type, cache_type, gpu_layers))
    except (GgufError, OSError) as error:
        fail(str(error))
    if json:
        print_json(document(found))
    else:
        show(found)


@config_app.command
def check(
    file: Annotated[Path | None, Parameter(help="Default: as for `aiproxy serve`.")] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """Tell all that is wrong with it, by line and column."""
    from attrs import asdict

    from proxyserver.settings import SettingsError, load

    from ._console import size

    path = config_path(file)
    try:
        settings = load(path, os.environ)
        unasked = _check_images(settings)
    except SettingsError as error:
        if not json:
            raise CommandFailed(FAILED, str(error)) from None
        print_json({"ok": False, "problems": [asdict(one) for one in error.problems]})
        raise CommandFailed(FAILED, f"{path}: {len(error.problems)} problems") from None
    if unasked is not None:
        print(f"not checked whether the images are here: {unasked}", file=sys.stderr)
    if json:
        print_json(
            {"ok": True, "problems": [], "remarks": [asdict(one) for one in settings.remarks]}
        )
        return
    services = ", ".join(f"{name} ({one.runtime})" for name, one in settings.services.items())
    devices = ", ".join(
        f"{device.id} {size(device.capacity)}"
        for device in settings.core.devices
        if device.unit.value == "bytes"
    )
    print(f"{path}: good; services: {services or 'none'}; devices: {devices}")
    for remark in settings.remarks:
        print(remark)


def _check_images(settings: "Settings") -> str | None:
    """Return None when all images are here; if the engine cannot tell, why.

    Raises:
        SettingsError: some are missing.
    """
    import trio

    from .images import check_images
    from .runtime import RuntimeUnreachable

    try:
        trio.run(check_images, settings)
    except RuntimeUnreachable as fault:
        return fault.cause.message
    return None


def _serve(settings: "Settings", read: "Load") -> None:
    from ._errors import run_plainly
    from ._log_place import LogPlace
    from .app import AlreadyRunning
    from .app import serve as serve_app
    from .http import ListenError

    LogPlace.of(settings.server).configure()
    try:
        run_plainly(serve_app, settings, read)
    except (AlreadyRunning, ListenError, OSError) as error:
        fail(str(error))
