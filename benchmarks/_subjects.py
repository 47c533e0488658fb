"""What is measured: the scripted server and the real one, as processes and in containers."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from proxyserver.parts import cache_folder
from tests.daemon.rig import Daemon, Flavour, docker_flavour, process_flavour
from tests.rig.engine import Engine, EngineMissing, private_engine
from tests.rig.llama import Llama, find_llama, import_llama
from tests.rig.mock import build_mock, import_mock

LOAD_MS = 150
LOAD_STEP_MS = 7
"""Loads differ by so much: polls that happened to hit the end of one load miss the others."""


@attrs.frozen
class Subject:
    """A kind of service."""

    name: str
    server: Mapping[str, Any]
    """Keys of `server:` that it needs."""
    service: Callable[[int], dict[str, Any]]
    """Makes one; numbers make scripted ones that differ in the time of their load."""

    @property
    def docker_host(self) -> str | None:
        """The engine that its containers run on; None: it runs as a process."""
        host: str | None = self.server.get("docker", {}).get("host")
        return host

    @contextmanager
    def daemon(self, services: dict[str, Any]) -> Iterator[Daemon]:
        """Run a daemon that has memory for one of the services."""
        with tempfile.TemporaryDirectory(prefix="aiproxy-benchmark-") as folder:
            server = {"port": 0, "state_dir": f"{folder}/state", "ram": "2GiB", "headroom": 0}
            claimed = {
                name: {**service, "memory": {"ram": "1200MiB"}, "idle_s": 600}
                for name, service in services.items()
            }
            daemon = Daemon(
                Path(folder), {"server": {**server, **self.server}, "services": claimed}
            )
            try:
                daemon.start()
                yield daemon
            finally:
                daemon.remove()


@contextmanager
def subjects() -> Iterator[Sequence[Subject]]:
    """Yield all that can be had here; containers need an engine of our own, so root."""
    binary = build_mock(cache_folder())
    llama = find_llama(cache_folder())
    with contextlib.ExitStack() as stack:
        found = [*mocks(process_flavour(binary)), _llama_process(llama)]
        try:
            engine = stack.enter_context(private_engine())
        except EngineMissing as error:
            print(f"nothing is measured in containers: {error}", file=sys.stderr)
        else:
            import_mock(engine.host, binary)
            found += [*mocks(docker_flavour(engine.host)), _llama_docker(llama, engine)]
        yield found


def mocks(flavour: Flavour) -> Iterator[Subject]:
    """Yield the scripted server, which answers 503 while it loads, or does not listen yet."""
    for mode in ("503", "refuse"):

        def service(number: int, mode: str = mode) -> dict[str, Any]:
            load_ms = LOAD_MS + number * LOAD_STEP_MS
            mock = flavour.mock({"LOAD_MODE": mode, "LOAD_MS": str(load_ms)})
            # Told what it takes, the core does not spare an idle one for coming back soon: nobody
            # measures here how well it waits.
            return {**mock, "ready": {"path": "/health"}, "load_s": load_ms / 1000}

        yield Subject(f"mock_{mode}_{flavour.name}", flavour.server, service)


def _llama_process(llama: Llama) -> Subject:
    own = {
        "binary": str(llama.parts.server),
        "process": {"environment": dict(llama.environment)},
    }
    return Subject("llama_process", {"runtime": "process"}, lambda _: _llama_service(llama, own))


def _llama_docker(llama: Llama, engine: Engine) -> Subject:
    volumes = [f"{one.source}:{one.target}:ro" for one in llama.mounts]
    own = {"container": {"image": import_llama(engine.host, llama), "volumes": volumes}}
    server = {"runtime": "docker", "docker": {"host": engine.host}}
    return Subject("llama_docker", server, lambda _: _llama_service(llama, own))


def _llama_service(llama: Llama, own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "llamacpp",
        "model": str(llama.parts.model),
        "ctx": 2048,
        "parallel": 1,
        "gpu_layers": 0,
        "threads": 1,
        "args": ["--no-warmup", "--no-ui", "--device", "none"],
        **own,
    }
