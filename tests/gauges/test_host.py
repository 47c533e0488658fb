"""The main memory there is, is free and is used, on machines of all kinds."""

from pathlib import Path

import pytest

from proxycore import RAM, RunId
from proxyserver.gauges import Measurement
from proxyserver.gauges.host import (
    HostGauge,
    group_memory,
    group_processor_s,
    ram_available,
    ram_total,
)

GIB = 1 << 30
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
NO_LIMIT = 9223372036854771712
MEMINFO: dict[str, object] = {
    "proc/meminfo": f"MemTotal:  {16 << 20} kB\nMemFree: 1 kB\nMemAvailable:  {9 << 20} kB\n"
}


def write(root: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}")


def v1(folder: str, usage: int, idle: int) -> dict[str, object]:
    """Return the accounts of a group; the rows are those of a real kernel, shortened."""
    rows = f"cache 1\ninactive_file 7\ntotal_cache 1\ntotal_inactive_file {idle}\n"
    return {f"{V1}/{folder}memory.usage_in_bytes": usage, f"{V1}/{folder}memory.stat": rows}


def v2(folder: str, usage: int, idle: int) -> dict[str, object]:
    rows = f"anon 1\nfile 1\ninactive_file {idle}\nworkingset_refault_anon 0\n"
    return {f"{V2}/{folder}memory.current": usage, f"{V2}/{folder}memory.stat": rows}


@pytest.mark.parametrize(
    ("cgroup", "limits", "total"),
    [
        pytest.param(None, {}, 16 * GIB, id="no cgroups"),
        pytest.param("0::/", {}, 16 * GIB, id="v2, root has no limit"),
        pytest.param("0::/a/b", {f"{V2}/a/b/memory.max": "max"}, 16 * GIB, id="v2, none set"),
        pytest.param("0::/a/b", {f"{V2}/a/b/memory.max": 4 * GIB}, 4 * GIB, id="v2"),
        pytest.param(
            "0::/a/b",
            {f"{V2}/a/b/memory.max": 4 * GIB, f"{V2}/a/memory.max": 3 * GIB},
            3 * GIB,
            id="v2, less above",
        ),
        pytest.param("0::/a", {f"{V2}/a/memory.max": 32 * GIB}, 16 * GIB, id="v2, above all"),
        pytest.param("0::/host/x", {f"{V2}/memory.max": 2 * GIB}, 2 * GIB, id="v2, in a container"),
        pytest.param(
            "5:cpu:/c\n4:memory:/m", {f"{V1}/m/memory.limit_in_bytes": 5 * GIB}, 5 * GIB, id="v1"
        ),
        pytest.param(
            "4:memory:/m", {f"{V1}/m/memory.limit_in_bytes": NO_LIMIT}, 16 * GIB, id="v1, none set"
        ),
        pytest.param(
            "4:memory:/host/x", {f"{V1}/memory.limit_in_bytes": GIB}, GIB, id="v1, in a container"
        ),
    ],
)
def test_ram_total(
    tmp_path: Path, cgroup: str | None, limits: dict[str, object], total: int
) -> None:
    """The least of the machine and of the limits of our cgroup and those above it."""
    groups = {} if cgroup is None else {"proc/self/cgroup": f"{cgroup}\n"}
    write(tmp_path, MEMINFO | groups | limits)
    assert ram_total(tmp_path) == total


def test_ram_total_of_this_machine() -> None:
    """It can be read here, and is that of a computer."""
    assert 64 << 20 < ram_total() < 1 << 50


@pytest.mark.parametrize(
    ("files", "free"),
    [
        pytest.param({}, 9 * GIB, id="no cgroups"),
        pytest.param(
            {"proc/self/cgroup": "0::/a\n", f"{V2}/a/memory.max": 4 * GIB}
            | v2("a/", 3 * GIB, GIB // 2),
            GIB + GIB // 2,
            id="v2",
        ),
        pytest.param(
            {"proc/self/cgroup": "4:memory:/a\n", f"{V1}/a/memory.limit_in_bytes": 4 * GIB}
            | v1("a/", 5 * GIB, 0),
            0,
            id="v1, over its limit",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/a\n", f"{V2}/a/memory.max": 12 * GIB} | v2("a/", GIB, 0),
            9 * GIB,
            id="v2, more than the machine has free",
        ),
    ],
)
def test_ram_available(tmp_path: Path, files: dict[str, object], free: int) -> None:
    """What is free is the least of the machine's and of the rooms below our limits."""
    write(tmp_path, MEMINFO | files)
    assert ram_available(tmp_path) == free


@pytest.mark.parametrize(
    ("cgroup", "files", "used"),
    [
        pytest.param("0::/docker/x", v2("docker/x/", 3 * GIB, GIB), 2 * GIB, id="v2"),
        pytest.param("4:memory:/docker/x", v1("docker/x/", 3 * GIB, GIB), 2 * GIB, id="v1"),
        pytest.param(
            "0::/docker/x\n4:memory:/docker/x", v1("docker/x/", 3, 1), 2, id="mixed, accounts in v1"
        ),
        pytest.param("0::/", v2("", 3, 1), 2, id="in a container's own namespace"),
        pytest.param("0::/gone", {}, None, id="a group that is gone"),
        pytest.param("4:memory:/x", v2("x/", 3, 1), None, id="accounts of the wrong version"),
    ],
)
def test_group_memory(
    tmp_path: Path, cgroup: str, files: dict[str, object], used: int | None
) -> None:
    """A container uses what its group does, less the page cache that could go at once."""
    write(tmp_path, {"proc/42/cgroup": f"{cgroup}\n"} | files)
    assert group_memory(42, tmp_path) == used
    assert group_memory(43, tmp_path) is None


@pytest.mark.parametrize(
    ("cgroup", "file", "text", "used_s"),
    [
        ("0::/docker/x", f"{V2}/docker/x/cpu.stat", "usage_usec 2500000\nuser_usec 7\n", 2.5),
        ("3:cpu,cpuacct:/x", "sys/fs/cgroup/cpuacct/x/cpuacct.usage", "2500000000\n", 2.5),
        ("0::/x", f"{V2}/x/cpu.stat", "user_usec 7\n", None),
        ("0::/gone", f"{V2}/x/cpu.stat", "usage_usec 7\n", None),
        ("4:memory:/x", f"{V1}/x/cpuacct.usage", "7\n", None),
    ],
)
def test_group_processor(
    tmp_path: Path, cgroup: str, file: str, text: str, used_s: float | None
) -> None:
    """A container took what its group did, in either version's unit."""
    write(tmp_path, {"proc/42/cgroup": f"{cgroup}\n", file: text})
    assert group_processor_s(42, tmp_path) == used_s
    assert group_processor_s(43, tmp_path) is None


def test_memory_of_this_machine() -> None:
    """The real files are read: what is free is a part of what there is."""
    assert 0 < ram_available() < ram_total()


async def test_measurement(tmp_path: Path, autojump_clock: object) -> None:
    """What no run of ours uses is foreign; nobody knows how much while one cannot be asked."""
    write(tmp_path, MEMINFO)
    runs: dict[RunId, int | None] = {RunId(1): GIB, RunId(2): 2 * GIB}

    async def memory_by_run() -> dict[RunId, int | None]:
        return runs

    gauge = HostGauge(memory_by_run, tmp_path)
    (found,) = await gauge.measure()
    by_run = {RunId(1): GIB, RunId(2): 2 * GIB}
    assert found == Measurement(RAM, 16 * GIB, 9 * GIB, by_run, found.at)
    assert (found.used, found.foreign) == (7 * GIB, 4 * GIB)
    runs[RunId(2)] = None
    (found,) = await gauge.measure()
    assert found.by_run == {RunId(1): GIB}
    assert found.foreign is None
