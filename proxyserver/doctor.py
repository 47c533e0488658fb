"""What a machine lacks to run the proxy and its services, with what would help; changes nothing."""

import enum
import errno
import os
import resource
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import docker
import httpx
import requests
from docker.errors import DockerException

from .client import Client, DaemonRefused, DaemonUnreachable
from .gauges import GaugeFault
from .gauges.gpus import find_gpus
from .runtime import ContainerSpec
from .settings import ServerSettings, Settings
from .telemetry.otlp.probe import probe

ENGINE_S = 5
"""How long the engine may take to answer one question."""
SOCKET = "unix:///var/run/docker.sock"
DISK_LEAST = 10 << 30
"""A little more than one image of vLLM takes while it is unpacked."""
FILES_LEAST = 4096
"""Every request in flight holds two descriptors, and every run some more."""


class Verdict(enum.Enum):
    """How serious a finding is."""

    GOOD = "good"
    WARNING = "warning"
    """Something works worse, or not at all, that not everybody needs."""
    BAD = "bad"
    """What the configuration asks for cannot work."""


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    message: str
    remedy: str = ""
    """What would help; empty where all is well."""


@attrs.frozen
class Needs:
    """What a configuration wants of the machine."""

    server: ServerSettings
    containers: bool = False
    """Services run as containers."""
    gpus: bool = False
    """And some of these want GPUs."""

    @classmethod
    def of(cls, settings: Settings) -> "Needs":
        launched = [service.launch.what for service in settings.services.values()]
        containers = [what for what in launched if isinstance(what, ContainerSpec)]
        gpus = any(what.gpus for what in containers)
        return cls(settings.server, bool(containers), gpus)


def examine(needs: Needs) -> Iterator[Finding]:
    """Look at everything that a configuration needs, one after the other."""
    server, gpus = needs.server, _gpus()
    yield gpus
    with_gpus = needs.gpus and gpus.verdict is Verdict.GOOD
    yield from _engine(server.docker_host, needed=needs.containers, with_gpus=with_gpus)
    tls = server.tls
    yield _port(server.host, server.port, secure=tls is not None and tls.port is None)
    if tls is not None and tls.port is not None:
        yield _port(tls.host or server.host, tls.port, secure=True)
    yield from _folder(server.state_dir)
    yield _files()
    yield from collectors(os.environ)


def _gpus() -> Finding:
    try:
        gpus = find_gpus()
    except GaugeFault as fault:
        remedy = "Nothing, if there is no GPU; else look what `nvidia-smi` and `dmesg` say."
        return Finding("gpu", Verdict.WARNING, str(fault), remedy)
    listed = ", ".join(f"{name} {amount / 2**30:.1f} GiB" for name, amount in gpus.items())
    return Finding("gpu", Verdict.GOOD, listed or "the driver has no GPU")


def _engine(host: str | None, *, needed: bool, with_gpus: bool) -> Iterator[Finding]:
    """Look at the container engine, and at what it needs to give GPUs to containers."""
    url = host or os.environ.get("DOCKER_HOST") or SOCKET
    try:
        with closing(docker.DockerClient(base_url=url, timeout=ENGINE_S)) as client:
            info: dict[str, Any] = client.info()
    except (DockerException, requests.RequestException, OSError) as error:
        verdict = Verdict.BAD if needed else Verdict.WARNING
        message, remedy = why_no_engine(url, error)
        yield Finding("engine", verdict, message, remedy)
        return
    told = f"{info.get('Name')}, version {info.get('ServerVersion')}, at {url}"
    yield Finding("engine", Verdict.GOOD, told)
    root = Path(str(info.get("DockerRootDir") or "/var/lib/docker"))
    if root.is_dir():
        yield _disk("images", root, "Remove what is not needed: `docker image prune`.")
    if with_gpus:
        yield _gpu_runtime(info)


def why_no_engine(url: str, error: Exception) -> tuple[str, str]:
    """Return why an engine does not answer, and what would help."""
    path = Path(url.removeprefix("unix://"))
    if url.startswith("unix://") and path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return (
            f"no permission to use {path}",
            "Join the group that owns it (`sudo usermod -aG docker $USER`) and log in anew.",
        )
    if url.startswith("unix://") and not path.exists():
        return (
            f"there is no engine at {path}",
            "Install one (Debian: `sudo apt install docker.io`), or let services run as processes.",
        )
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{url} does not answer: {first[:200]}",
        "Start it (`sudo systemctl start docker`), or correct `server.docker.host`.",
    )


def _gpu_runtime(info: dict[str, Any]) -> Finding:
    """Tell whether containers can have NVIDIA's GPUs: by its runtime, or by CDI."""
    runtimes = info.get("Runtimes") or {}
    cdi = [Path(folder) for folder in info.get("CDISpecDirs") or ()]
    has_cdi = any(folder.is_dir() and any(folder.glob("nvidia*")) for folder in cdi)
    if "nvidia" in runtimes or has_cdi or shutil.which("nvidia-container-cli"):
        return Finding("gpu runtime", Verdict.GOOD, "containers can have GPUs")
    return Finding(
        "gpu runtime",
        Verdict.BAD,
        "the engine cannot give GPUs to containers",
        "Install the NVIDIA Container Toolkit, run `sudo nvidia-ctk runtime configure`, and "
        "restart the engine.",
    )


def _port(host: str, port: int, *, secure: bool) -> Finding:
    """Tell whether the daemon can listen there, or does already."""
    what = f"port {port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                remedy = "Choose another `server.host` or `server.port`."
                return Finding(what, Verdict.BAD, f"{host}: {error.strerror}", remedy)
        else:
            return Finding(what, Verdict.GOOD, f"free at {host}")
    shown = f"[{host}]" if ":" in host else host
    try:
        url = f"{'https' if secure else 'http'}://{shown}:{port}"
        with closing(Client(url, trusts_any=True)) as daemon:
            health = daemon.health(detail=False)
    except (DaemonUnreachable, DaemonRefused, httpx.HTTPError, ValueError):
        remedy = f"See who listens (`ss -ltnp sport = :{port}`), or choose another `server.port`."
        return Finding(what, Verdict.BAD, "somebody else listens there", remedy)
    return Finding(what, Verdict.GOOD, f"the daemon listens, and is {health.get('status')}")


def _folder(folder: Path) -> Iterator[Finding]:
    """Tell whether the state folder, or the nearest folder above it that exists, can be used."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        remedy = "Let this user write there, or set `server.state_dir`."
        yield Finding("state folder", Verdict.BAD, f"{there} cannot be written to", remedy)
        return
    yield Finding("state folder", Verdict.GOOD, str(folder))
    yield _disk("state folder's disk", there, "Journals and logs are kept there: make room.", 1)


def _disk(what: str, folder: Path, remedy: str, least_gib: int = DISK_LEAST >> 30) -> Finding:
    usage = shutil.disk_usage(folder)
    message = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.0f}, at {folder}"
    if usage.free < least_gib << 30:
        return Finding(what, Verdict.WARNING, message, remedy)
    return Finding(what, Verdict.GOOD, message)


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_LEAST:
        message = f"only {soft} descriptors, so some {soft // 2} requests at once"
        remedy = f"`ulimit -n {FILES_LEAST}` before the daemon, or LimitNOFILE= in its unit."
        return Finding("open files", Verdict.WARNING, message, remedy)
    return Finding("open files", Verdict.GOOD, str(soft))


def collectors(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Tell whether each signal of telemetry is taken by its collector."""
    probed = probe(environ)
    for one in probed:
        verdict = Verdict.BAD if one.remedy else Verdict.GOOD
        yield Finding(one.signal, verdict, one.message, one.remedy)
    if not probed:
        yield Finding("telemetry", Verdict.GOOD, "off: the environment names no collector")
