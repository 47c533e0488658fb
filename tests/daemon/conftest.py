"""Daemons for tests, in both flavours."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, Flavour, docker_flavour, process_flavour
from tests.rig.engine import Engine


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


@pytest.fixture
def new_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons that are removed, with all that they started, after the test."""
    daemons: list[Daemon] = []

    def make(
        services: dict[str, Any], *, environment: Mapping[str, str] | None = None, **server: Any
    ) -> Daemon:
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        defaults = {"port": 0, "state_dir": str(folder / "state"), "ram": "2GiB", "headroom": 0}
        configuration = {"server": {**defaults, **server}, "services": services}
        daemon = Daemon(folder, configuration, environment or {})
        daemons.append(daemon)
        daemon.start()
        return daemon

    yield make
    for daemon in daemons:
        daemon.remove()
