"""The main memory there is for us, on machines of all kinds."""

from pathlib import Path

import pytest

from proxyserver.gauges.host import ram_total

GIB = 1 << 30
V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
NO_LIMIT = 9223372036854771712


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
    files: dict[str, object] = {"proc/meminfo": f"MemTotal:       {16 << 20} kB\nMemFree: 1 kB\n"}
    if cgroup is not None:
        files["proc/self/cgroup"] = f"{cgroup}\n"
    for name, content in (files | limits).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}")
    assert ram_total(tmp_path) == total


def test_ram_total_of_this_machine() -> None:
    """It can be read here, and is that of a computer."""
    assert 64 << 20 < ram_total() < 1 << 50
