"""The rig as pytest fixtures.

What is missing is an error that says what to install, never a skip.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import Engine, private_engine
from .fake_gpus import FakeGpus, build_fake_nvml
from .llama import Llama, find_llama, import_llama
from .mock import build_mock, import_mock


@pytest.fixture(scope="session")
def rig_cache(pytestconfig: pytest.Config) -> Path:
    """Where compiled and fetched things stay from one session to the next."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("rig")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A private container engine.  Tests that use it are marked `engine`."""
    with private_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def mock_binary(rig_cache: Path) -> Path:
    """The scripted inference server as a program (mockserver.c says what it can do)."""
    return build_mock(rig_cache)


@pytest.fixture
def fake_gpus(mock_binary: Path, rig_cache: Path, tmp_path: Path) -> FakeGpus:
    """A machine for the fake NVML library, without a driver until GPUs are plugged in.

    Whoever cannot compile the scripted server cannot compile the library either.
    """
    folder = tmp_path / "gpus"
    folder.mkdir()
    return FakeGpus(folder, build_fake_nvml(rig_cache))


@pytest.fixture(scope="session")
def mock_image(engine: Engine, mock_binary: Path) -> str:
    """The scripted inference server as an image of the private engine, by its tag."""
    return import_mock(engine.host, mock_binary)


@pytest.fixture(scope="session")
def llama(rig_cache: Path) -> Llama:
    """The real llama-server and a small real model.  Tests that use it are marked `llama`."""
    return find_llama(rig_cache)


@pytest.fixture(scope="session")
def llama_image(engine: Engine, llama: Llama) -> str:
    """The real llama-server as an image of the private engine, by its tag."""
    return import_llama(engine.host, llama)
