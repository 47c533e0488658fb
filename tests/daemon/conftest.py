"""Daemons for tests, in both flavours."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, Flavour, Llamas, docker_flavour, process_flavour
from tests.rig.engine import Engine
from tests.rig.llama import Llama


@pytest.fixture(
    params=[
        pytest.param("process", marks=pytest.mark.mock_binary),
        pytest.param("docker", marks=[pytest.mark.engine, pytest.mark.mock_binary]),
    ]
)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """How the scripted server runs: as a process, and in a container."""
    if request.param == "process":
        return process_flavour(request.getfixturevalue("mock_binary"))
    request.getfixturevalue("mock_image")
    engine: Engine = request.getfixturevalue("engine")
    return docker_flavour(engine.host)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
def llamas(request: pytest.FixtureRequest, llama: Llama) -> Llamas:
    """How the real llama-server runs: as a process, and in a container."""
    service: dict[str, Any] = {
        "type": "llamacpp",
        "model": str(llama.parts.model),
        "ctx": 2048,
        "gpu_layers": 0,
        "threads": 1,
        "args": ["--no-warmup", "--no-ui", "--device", "none"],
    }
    if request.param == "process":
        environment = {"environment": dict(llama.environment)}
        own = {"binary": str(llama.parts.server), "process": environment}
        return Llamas({"runtime": "process"}, service | own)
    engine: Engine = request.getfixturevalue("engine")
    volumes = [f"{one.source}:{one.target}:ro" for one in llama.mounts]
    container = {"image": request.getfixturevalue("llama_image"), "volumes": volumes}
    server = {"runtime": "docker", "docker": {"host": engine.host}}
    return Llamas(server, service | {"container": container})


@pytest.fixture
def new_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons that are removed, with all that they started, after the test."""
    daemons: list[Daemon] = []

    def make(
        services: dict[str, Any],
        *,
        environment: Mapping[str, str] | None = None,
        module: str = "proxyserver",
        **server: Any,
    ) -> Daemon:
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        defaults = {"port": 0, "state_dir": str(folder / "state"), "ram": "2GiB", "headroom": 0}
        configuration = {"server": {**defaults, **server}, "services": services}
        daemon = Daemon(folder, configuration, environment or {}, module)
        daemons.append(daemon)
        daemon.start()
        return daemon

    yield make
    for daemon in daemons:
        daemon.remove()
