"""What is special about containers: labels, the engine's refusals, and an engine that goes away."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import docker
import pytest
import trio

from proxycore import DeviceId, Placement, RunId
from proxyserver.contract import (
    ALPHA,
    BETA,
    PATIENCE_S,
    PLACEMENT,
    Behaviour,
    cleaned,
    eventually,
    start,
)
from proxyserver.runtime import (
    ContainerSpec,
    DockerRuntime,
    EngineImages,
    Healthcheck,
    LaunchSpec,
    Mount,
    PortBinding,
    ProcessSpec,
    RuntimeFault,
    RuntimeUnreachable,
    Ulimit,
)
from proxyserver.runtime._containers import Owner, create_arguments
from proxyserver.runtime._ports import free_port
from tests.rig.engine import Engine, free_subnets, private_engine
from tests.rig.mock import MOCK_PORT, import_mock

from .benches import DockerBench

pytestmark = [pytest.mark.engine, pytest.mark.slow]
FIRST = RunId(1)


@pytest.fixture
async def bench(tmp_path: Path, engine: Engine, mock_image: str) -> AsyncIterator[DockerBench]:
    bench = DockerBench(tmp_path, engine.host, mock_image)
    async with cleaned(bench):
        yield bench


@pytest.fixture
def client(engine: Engine) -> Iterator[docker.DockerClient]:
    with contextlib.closing(engine.client()) as client:
        yield client


def changed(spec: LaunchSpec, **changes: Any) -> LaunchSpec:
    assert isinstance(spec.what, ContainerSpec)
    return attrs.evolve(spec, what=attrs.evolve(spec.what, **changes))


def environment_of(bench: DockerBench) -> tuple[tuple[str, str], ...]:
    what = bench.spec().what
    assert isinstance(what, ContainerSpec)
    return what.environment


def inspect(client: docker.DockerClient, bench: DockerBench) -> dict[str, Any]:
    """Return what the engine says about the one container of the bench."""
    labels: dict[str, str | list[str] | bool] = {
        "label": f"aiproxy.instance={bench.state_dir.name}"
    }
    (container,) = client.containers.list(all=True, filters=labels)
    return dict(container.attrs)


async def fault_of(bench: DockerBench, spec: LaunchSpec) -> RuntimeFault:
    """Return why it cannot be started; nothing may be left of it."""
    with pytest.raises(RuntimeFault) as caught:
        await bench.runtime.start(spec, FIRST, PLACEMENT)
    assert list(await bench.runtime.found()) == []
    return caught.value


async def test_labels_and_name(bench: DockerBench, client: docker.DockerClient) -> None:
    """People and a later life of the daemon see whose a container is."""
    await start(bench, bench.spec(BETA), 3)
    seen = inspect(client, bench)
    instance = bench.state_dir.name
    assert seen["Name"] == f"/aiproxy-{instance}-beta.with_odd_name-3"
    assert seen["Config"]["Labels"] == {
        "aiproxy.managed": "1",
        "aiproxy.instance": instance,
        "aiproxy.service": BETA,
        "aiproxy.run": "3",
        "aiproxy.config-hash": "f00d",
        "aiproxy.placement": json.dumps({"gpu0": 1000, "ram": 2000}),
        "aiproxy.port": str(MOCK_PORT),
    }


async def test_options_reach_the_engine(bench: DockerBench, client: docker.DockerClient) -> None:
    """Every option of a container is passed on, by its meaning."""
    folder = bench.state_dir / "data"
    folder.mkdir()
    spec = changed(
        bench.spec(),
        command=("a", "b"),
        mounts=(Mount(str(folder), "/data", read_only=True), Mount("some-volume", "/volume")),
        devices=("/dev/null", "/dev/zero:/dev/nought"),
        extra_hosts=(("other", "10.0.0.1"),),
        shm_size=64 << 20,
        ipc="private",
        user="1000:1000",
        working_dir="/data",
        memory_limit=256 << 20,
        healthcheck=False,
    )
    await start(bench, spec)
    seen = inspect(client, bench)
    host = seen["HostConfig"]
    assert host["Init"] is True
    assert [(m["Type"], m["Source"], m.get("ReadOnly", False)) for m in host["Mounts"]] == [
        ("bind", str(folder), True),
        ("volume", "some-volume", False),
    ]
    devices = [(each["PathOnHost"], each["PathInContainer"]) for each in host["Devices"]]
    assert devices == [("/dev/null", "/dev/null"), ("/dev/zero", "/dev/nought")]
    assert host["ExtraHosts"] == ["other:10.0.0.1"]
    assert (host["ShmSize"], host["IpcMode"], host["Memory"]) == (64 << 20, "private", 256 << 20)
    config = seen["Config"]
    assert (config["User"], config["WorkingDir"]) == ("1000:1000", "/data")
    assert config["Cmd"] == ["a", "b"]
    assert config["Healthcheck"] == {"Test": ["NONE"]}


async def test_limits_reach_the_engine(bench: DockerBench, client: docker.DockerClient) -> None:
    """What compose calls by other names than the engine does arrives as it was meant."""
    spec = changed(
        bench.spec(),
        cap_add=("SYS_PTRACE",),
        cap_drop=("MKNOD",),
        security_opt=("no-new-privileges",),
        group_add=("44",),
        ulimits=(Ulimit("nofile", 512, 1024),),
        tmpfs=("/run", "/scratch:size=1m"),
        labels=(("who", "me"),),
        init=False,
        pid="host",
        hostname="inside",
        dns=("127.0.0.53",),
        sysctls=(("net.ipv4.ip_unprivileged_port_start", "0"),),
        read_only=True,
        stop_signal="SIGINT",
        cpus=0.5,
        cpuset="0",
        runtime="runc",
        healthcheck=Healthcheck(("CMD", "true"), 90.0, 1.5, 2.0, 4),
    )
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    seen = inspect(client, bench)
    host, config = seen["HostConfig"], seen["Config"]
    assert (host["CapAdd"], host["CapDrop"]) == (["SYS_PTRACE"], ["MKNOD"])
    assert (host["SecurityOpt"][0], host["GroupAdd"]) == ("no-new-privileges", ["44"])
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 512, "Hard": 1024}]
    assert host["Tmpfs"] == {"/run": "", "/scratch": "size=1m"}
    assert (host["Init"], host["PidMode"], host["Dns"]) == (False, "host", ["127.0.0.53"])
    assert host["Sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert (host["ReadonlyRootfs"], host["NanoCpus"], host["CpusetCpus"]) == (True, 5 * 10**8, "0")
    assert (host["Runtime"], config["Hostname"]) == ("runc", "inside")
    assert (config["Labels"]["who"], config["StopSignal"]) == ("me", "SIGINT")
    assert config["Healthcheck"] == {
        "Test": ["CMD", "true"],
        "Interval": 90 * 10**9,
        "Timeout": 15 * 10**8,
        "StartPeriod": 2 * 10**9,
        "Retries": 4,
    }


async def test_fixed_ports_are_for_people(bench: DockerBench) -> None:
    """A fixed port is published besides ours, which stays a random one."""
    port = free_port()
    spec = changed(bench.spec(), ports=(PortBinding(MOCK_PORT, port),))
    endpoint = await start(bench, spec)
    assert endpoint.port != port
    assert await bench.answers(attrs.evolve(endpoint, port=port))
    assert not await bench.runtime.owns(ALPHA, FIRST, attrs.evolve(endpoint, port=port))


async def test_host_network(bench: DockerBench) -> None:
    """Without a network of its own a container listens where it wants, if nobody else does."""
    port = free_port()
    spec = changed(bench.spec(), network_mode="host", port=port)
    environment = (*environment_of(bench), ("PORT", str(port)))
    spec = changed(spec, environment=environment)
    endpoint = await start(bench, spec)
    assert endpoint.port == port
    assert await bench.runtime.owns(ALPHA, FIRST, endpoint)
    with pytest.raises(RuntimeFault) as caught:
        await bench.runtime.start(attrs.evolve(spec, service=BETA), RunId(2), PLACEMENT)
    assert caught.value.cause.kind == "port_in_use"
    assert str(port) in caught.value.cause.message


async def test_networks(bench: DockerBench, client: docker.DockerClient) -> None:
    """A container may be in several networks, and is still reached by its published port."""
    pools = [docker.types.IPAMPool(subnet=f"{free}.0/24") for free in free_subnets(2)]
    networks = [
        client.networks.create(
            f"net-{number}", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool])
        )
        for number, pool in enumerate(pools)
    ]
    try:
        await start(bench, changed(bench.spec(), networks=("net-0", "net-1")))
        assert set(inspect(client, bench)["NetworkSettings"]["Networks"]) == {"net-0", "net-1"}
        await bench.runtime.kill(ALPHA, FIRST)
        await bench.runtime.forget(ALPHA, FIRST)
    finally:
        # What a failure leaves attached would keep the network, and its bridge outlives the engine.
        for network in networks:
            network.reload()
            for container in network.containers:
                network.disconnect(container, force=True)
            network.remove()
    fault = await fault_of(bench, changed(bench.spec(), networks=("net-0",)))
    assert fault.cause.kind == "network_missing"


async def test_no_way_in(bench: DockerBench) -> None:
    """A container that nobody can reach is refused, not waited for."""
    fault = await fault_of(bench, changed(bench.spec(), network_mode="none"))
    assert fault.cause.kind == "no_port"


async def test_gpu_without_nvidia(bench: DockerBench) -> None:
    """A GPU that the engine cannot give is a clear cause, and no start is tried again."""
    fault = await fault_of(bench, changed(bench.spec(), gpus=True))
    assert (fault.cause.kind, fault.cause.heals) == ("gpu_runtime", False)
    assert "NVIDIA Container Toolkit" in fault.cause.message


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"mounts": (Mount("/no-such-folder", "/data"),)}, "mount_missing", "/no-such-folder"),
        ({"working_dir": "no/slash"}, "start_failed", "no/slash"),
        ({"user": "nobody-of-that-name"}, "start_failed", "nobody-of-that-name"),
    ],
)
async def test_what_the_engine_refuses(
    bench: DockerBench, changes: dict[str, Any], kind: str, words: str
) -> None:
    """What the engine refuses leaves nothing behind, and its own words reach the user."""
    fault = await fault_of(bench, changed(bench.spec(), **changes))
    assert fault.cause.kind == kind
    assert words in fault.cause.message


async def test_program_missing_in_the_image(bench: DockerBench) -> None:
    """A wrong entrypoint ends the container at once, with a cause that cannot heal."""
    spec = changed(bench.spec(), entrypoint=("/no-such-program",))
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    report = await bench.runtime.wait_gone(spec, FIRST)
    assert (report.cause.kind, report.cause.heals) == ("bad_entrypoint", False)


async def test_published_port_taken(bench: DockerBench) -> None:
    """A fixed port that another container has is named."""
    port = free_port()
    spec = changed(bench.spec(), ports=(PortBinding(MOCK_PORT, port),))
    await start(bench, spec)
    with pytest.raises(RuntimeFault) as caught:
        await bench.runtime.start(attrs.evolve(spec, service=BETA), RunId(2), PLACEMENT)
    assert caught.value.cause.kind == "port_in_use"
    assert str(port) in caught.value.cause.message


async def test_out_of_memory(bench: DockerBench) -> None:
    """At its memory limit the kernel kills a container, and the engine says so."""
    environment = (*environment_of(bench), ("HOG_MIB", "200"), ("LOAD_MODE", "refuse"))
    spec = changed(bench.spec(), environment=environment, memory_limit=64 << 20)
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    with trio.fail_after(PATIENCE_S):
        report = await bench.runtime.wait_gone(spec, FIRST)
    assert (report.cause.kind, report.oom_killed, report.exit_code) == ("ram_oom", True, 137)


async def test_name_taken_by_a_stranger(bench: DockerBench, client: docker.DockerClient) -> None:
    """A container of our name that is not ours is an error, and is left alone."""
    name = f"aiproxy-{bench.state_dir.name}-alpha-1"
    stranger = client.containers.create(bench.image, name=name)
    try:
        assert (await fault_of(bench, bench.spec())).cause.kind == "name_conflict"
        await bench.runtime.kill(ALPHA, FIRST)
        await bench.runtime.forget(ALPHA, FIRST)
        stranger.reload()
    finally:
        stranger.remove(force=True)


async def test_other_instances_are_strangers(bench: DockerBench, tmp_path: Path) -> None:
    """Two daemons on one engine never see each other's containers."""
    endpoint = await start(bench, bench.spec())
    other = DockerRuntime(instance="other", docker_host=bench.host, state_dir=tmp_path / "other")
    assert list(await other.found()) == []
    await other.kill(ALPHA, FIRST)
    await other.forget(ALPHA, FIRST)
    assert await bench.answers(endpoint)


async def test_removed_by_hand(bench: DockerBench, client: docker.DockerClient) -> None:
    """A container that somebody removes is gone, and no daemon hangs on it."""
    spec = bench.spec()
    await start(bench, spec)
    container_id = inspect(client, bench)["Id"]
    await trio.to_thread.run_sync(lambda: client.api.remove_container(container_id, force=True))
    with trio.fail_after(PATIENCE_S):
        report = await bench.runtime.wait_gone(spec, FIRST)
    assert report.cause.kind == "removed"


async def test_paused_container_is_ended(bench: DockerBench, client: docker.DockerClient) -> None:
    """A container that somebody paused can still be killed."""
    await start(bench, bench.spec())
    container_id = inspect(client, bench)["Id"]
    await trio.to_thread.run_sync(client.api.pause, container_id)
    with trio.fail_after(PATIENCE_S):
        await bench.runtime.kill(ALPHA, FIRST)
    assert not inspect(client, bench)["State"]["Running"]


async def test_deaf_while_loading(bench: DockerBench) -> None:
    """`init` makes a server without a handler hear the polite signal: no grace is waited for."""
    spec = bench.spec(behaviour=Behaviour(load_s=30))
    await bench.runtime.start(spec, FIRST, PLACEMENT)
    with trio.fail_after(PATIENCE_S / 2):
        await bench.runtime.stop(ALPHA, FIRST, PATIENCE_S)


async def test_process_spec_is_refused(bench: DockerBench) -> None:
    """A service for the other runtime is our own mistake, told clearly."""
    fault = await fault_of(bench, LaunchSpec(ALPHA, ProcessSpec(("true",))))
    assert fault.cause.kind == "wrong_runtime"


async def test_no_engine(tmp_path: Path) -> None:
    """Where no engine is, that is said, by every method that needs one."""
    host = f"unix://{tmp_path}/none.sock"
    runtime = DockerRuntime(instance="test", docker_host=host, state_dir=tmp_path)
    images = EngineImages(host)
    for call in (runtime.check, runtime.found, partial(images.check, "image")):
        with pytest.raises(RuntimeUnreachable, match=r"No such file.*Is it running"):
            await call()


def test_placement_chooses_gpus() -> None:
    """A container gets the GPUs of its placement; all of them when it names none."""
    spec = LaunchSpec(ALPHA, ContainerSpec("image", 1, gpus=True))
    owner = Owner("test", ALPHA, FIRST)
    two = Placement.of([(DeviceId("gpu1"), 1), (DeviceId("gpu3"), 1), (DeviceId("ram"), 1)])
    (request,) = create_arguments(owner, spec, two)["device_requests"]
    assert (request["DeviceIDs"], request["Count"]) == (["1", "3"], 0)
    (request,) = create_arguments(owner, spec, Placement())["device_requests"]
    assert (request["DeviceIDs"], request["Count"]) == ([], -1)


async def test_engine_goes_and_comes_back(tmp_path: Path, mock_binary: Path) -> None:
    """A killed engine is noticed, a restarted one too, and each run's end is told in between."""
    with private_engine() as engine:
        import_mock(engine.host, mock_binary)
        bench = DockerBench(tmp_path, engine.host, "aiproxy-rig/mock:1")
        spec = bench.spec()
        await start(bench, spec)
        told: list[bool] = []
        reports = []

        async def wait() -> None:
            reports.append(await bench.runtime.wait_gone(spec, FIRST))

        async def have_told(*expected: bool) -> bool:
            await trio.lowlevel.checkpoint()
            return told == list(expected)

        async def have_reported() -> bool:
            await trio.lowlevel.checkpoint()
            return bool(reports)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.runtime.watch, lambda ok, _: told.append(ok))
            nursery.start_soon(wait)
            await eventually(lambda: have_told(True))
            await trio.to_thread.run_sync(engine.kill)
            await eventually(lambda: have_told(True, False))
            with pytest.raises(RuntimeUnreachable):
                await bench.runtime.start(spec, RunId(2), PLACEMENT)
            assert reports == [], "an engine that is away does not end what it ran"
            await trio.to_thread.run_sync(engine.start)
            await eventually(lambda: have_told(True, False, True))
            # This engine ends on its start what it finds; one with `live-restore` would not.
            await bench.runtime.kill(ALPHA, FIRST)
            await eventually(have_reported)
            await bench.runtime.forget(ALPHA, FIRST)
            assert list(await bench.runtime.found()) == []
            await start(bench, spec, 3)
            nursery.cancel_scope.cancel()
        await bench.runtime.kill(ALPHA, RunId(3))
