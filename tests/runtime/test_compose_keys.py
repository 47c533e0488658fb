"""Every key of `container:` does on a real engine what it does in compose."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import yaml

from proxycore import Placement, RunId, ServiceId
from proxyserver.contract import cleaned, start
from proxyserver.runtime import LaunchSpec
from proxyserver.runtime._containers import Owner, create_arguments
from proxyserver.runtime._ports import free_port
from proxyserver.settings import load
from proxyserver.settings._model import ContainerEntry
from tests.rig.engine import Engine, free_subnets
from tests.rig.mock import MOCK_PORT

from .benches import DockerBench

pytestmark = [pytest.mark.engine, pytest.mark.slow]
A, FIRST = ServiceId("a"), RunId(1)
ELSEWHERE = {"gpus", "network_mode", "privileged"}
"""Tried where they can be: a container has networks or a mode, there need be no GPU here, and an
engine inside a container may not give all rights away."""


@pytest.fixture
async def bench(tmp_path: Path, engine: Engine, mock_image: str) -> AsyncIterator[DockerBench]:
    bench = DockerBench(tmp_path, engine.host, mock_image)
    async with cleaned(bench):
        yield bench


@pytest.fixture
def network(engine: Engine) -> Iterator[str]:
    """A network of the engine, by name."""
    with contextlib.closing(engine.client()) as client:
        pool = docker.types.IPAMPool(subnet=f"{free_subnets(1)[0]}.0/24")
        made = client.networks.create(
            "front", ipam=docker.types.IPAMConfig(pool_configs=[pool]), check_duplicate=True
        )
        yield "front"
        made.reload()
        for container in made.containers:
            made.disconnect(container, force=True)
        made.remove()


def written(folder: Path, host: str, container: dict[str, Any]) -> LaunchSpec:
    """Return what a configuration with this container becomes."""
    server = {"ram": "8GiB", "docker": {"host": host}}
    file = folder / "aiproxy.yaml"
    file.write_text(yaml.safe_dump({"server": server, "services": {A: {"container": container}}}))
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return load(file, environ).services[A].launch


def inspected(host: str) -> dict[str, Any]:
    with contextlib.closing(docker.DockerClient(base_url=host)) as client:
        (container,) = client.containers.list(filters={"label": f"aiproxy.service={A}"})
        seen: dict[str, Any] = container.attrs
        return seen


async def test_every_key(bench: DockerBench, network: str, tmp_path: Path) -> None:
    """As a compose file has them, with its own words for sizes, times and lists."""
    (tmp_path / "data").mkdir()
    (tmp_path / "more.env").write_text("FROM_FILE=yes\n")
    port = free_port()
    said: dict[str, Any] = {
        "image": bench.image,
        "entrypoint": ["/mockserver"],
        "command": "--some words",
        "port": MOCK_PORT,
        "environment": ["PLAIN=1", "WITH=a=b"],
        "env_file": "more.env",
        "volumes": ["./data:/data:ro", "kept:/kept"],
        "ports": [f"127.0.0.1:{port}:{MOCK_PORT}"],
        "deploy": {"resources": {"limits": {"memory": "200M", "cpus": "0.5"}}},
        "devices": ["/dev/zero:/dev/nought"],
        "networks": [network],
        "extra_hosts": ["other:10.0.0.1"],
        "shm_size": "64m",
        "ipc": "private",
        "user": "0:0",
        "working_dir": "/data",
        "cpuset": "0",
        "ulimits": {"nofile": {"soft": 512, "hard": 1024}, "core": 0},
        "tmpfs": "/scratch:size=1m",
        "group_add": ["44"],
        "cap_add": ["SYS_PTRACE"],
        "cap_drop": ["MKNOD"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "sysctls": {"net.core.somaxconn": 1024},
        "dns": "127.0.0.53",
        "hostname": "inside",
        "pid": "host",
        "init": True,
        "stop_signal": "SIGINT",
        "labels": {"who": "me"},
        "runtime": "runc",
        "platform": "linux/amd64",
        "healthcheck": {"test": ["CMD", "true"], "interval": "1m30s", "retries": 3},
    }
    limits = {"mem_limit", "cpus"}  # Said by `deploy`; in their own words below.
    assert said.keys() == {one.name for one in attrs.fields(ContainerEntry)} - ELSEWHERE - limits
    spec = written(tmp_path, bench.host, said)
    endpoint = await bench.runtime.start(spec, FIRST, Placement())
    assert endpoint.port not in (0, port)
    seen = inspected(bench.host)
    config, host = seen["Config"], seen["HostConfig"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/mockserver"], ["--some", "words"])
    assert {"PLAIN=1", "WITH=a=b", "FROM_FILE=yes"} <= set(config["Env"])
    assert [(one["Type"], one["Target"]) for one in host["Mounts"]] == [
        ("bind", "/data"),
        ("volume", "/kept"),
    ]
    published = host["PortBindings"][f"{MOCK_PORT}/tcp"]
    assert {"HostIp": "127.0.0.1", "HostPort": str(port)} in published
    assert (host["Memory"], host["NanoCpus"]) == (200 << 20, 5 * 10**8)
    assert host["Devices"][0]["PathInContainer"] == "/dev/nought"
    assert list(seen["NetworkSettings"]["Networks"]) == [network]
    assert host["ExtraHosts"] == ["other:10.0.0.1"]
    assert (host["ShmSize"], host["IpcMode"], host["CpusetCpus"]) == (64 << 20, "private", "0")
    assert (config["User"], config["WorkingDir"]) == ("0:0", "/data")
    assert {one["Name"]: one["Hard"] for one in host["Ulimits"]} == {"nofile": 1024, "core": 0}
    assert (host["Tmpfs"], host["GroupAdd"]) == ({"/scratch": "size=1m"}, ["44"])
    assert (host["CapAdd"], host["CapDrop"]) == (["SYS_PTRACE"], ["MKNOD"])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert (host["ReadonlyRootfs"], host["Init"]) == (True, True)
    assert host["Sysctls"] == {"net.core.somaxconn": "1024"}
    assert (host["Dns"], host["PidMode"], host["Runtime"]) == (["127.0.0.53"], "host", "runc")
    assert (config["Hostname"], config["StopSignal"]) == ("inside", "SIGINT")
    assert config["Labels"]["who"] == "me"
    check = config["Healthcheck"]
    assert (check["Test"], check["Interval"], check["Retries"]) == (["CMD", "true"], 90 * 10**9, 3)
    await bench.runtime.kill(A, FIRST)
    await bench.runtime.forget(A, FIRST)


def test_privileged(engine: Engine, mock_image: str, tmp_path: Path) -> None:
    """The engine takes note of it; whether it can be kept is for the machine to say."""
    said = {"image": mock_image, "port": MOCK_PORT, "privileged": True}
    spec = written(tmp_path, engine.host, said)
    with contextlib.closing(engine.client()) as client:
        made = client.containers.create(
            **create_arguments(Owner("test", A, FIRST), spec, Placement())
        )
        try:
            assert made.attrs["HostConfig"]["Privileged"] is True
        finally:
            made.remove()


async def test_limits_in_their_own_words(bench: DockerBench, tmp_path: Path) -> None:
    """`mem_limit` and `cpus` as in compose files without `deploy`; a network by mode."""
    said = {
        "image": bench.image,
        "port": MOCK_PORT,
        "mem_limit": "256m",
        "cpus": 0.25,
        "network_mode": "bridge",
        "healthcheck": {"disable": True},
    }
    spec = written(tmp_path, bench.host, said)
    await start(bench, attrs.evolve(spec, ready=bench.spec().ready))
    seen = inspected(bench.host)
    host = seen["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["NetworkMode"]) == (
        256 << 20,
        25 * 10**7,
        "bridge",
    )
    assert seen["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    await bench.runtime.kill(A, FIRST)
    await bench.runtime.forget(A, FIRST)
