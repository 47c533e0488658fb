"""A whole configuration, from the file to what the program runs on."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxycore import RAM, DeviceId, ServiceId
from proxycore.config import GIB, MIB, DeviceSpec, Placement, idle_auto_s
from proxyserver.gauges.host import ram_total
from proxyserver.runtime._protocol import ContainerSpec, Mount, PortBinding, Probe, ProcessSpec
from proxyserver.settings import ServerSettings, Settings, SettingsError, load

from .writing import ENVIRON, Folder, no_gpus

ROOT = Path(__file__).parents[2]
GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
DEVICES = "server: {devices: {gpu0: 24GiB, gpu1: {memory: 12GiB, headroom: 1GiB}}, ram: 32GiB}\n"
PLAIN = "services: {a: {process: {command: [sh]}"


def placements(folder: Folder, memory: str) -> tuple[Placement, ...]:
    text = f"{DEVICES}services: {{a: {{process: {{command: sh}}, memory: {memory}}}}}"
    return folder.load(text).core.services[0].placements


def test_little_is_enough(folder: Folder) -> None:
    """Everything but the services has a default."""
    found = folder.load("services: {a: {process: {command: sh -c 'exit 1', port: 99}}}")
    assert found.server == ServerSettings(state_dir=Path("/home/tester/.local/state/aiproxy"))
    assert found.core.devices == (DeviceSpec(RAM, ram_total()),)
    service = found.services[ServiceId("a")]
    assert service.launch.what == ProcessSpec(
        ("/usr/bin/sh", "-c", "exit 1"), (), str(folder.path), 99
    )
    assert (service.type, service.runtime, service.wait_s) == ("custom", "process", 600.0)
    assert service.launch.ready == Probe("/", None)
    assert service.spec.placements == (Placement(),)
    assert service.spec.idle_s == idle_auto_s(10.0)


def test_defaults_of_the_server_hold_for_services(folder: Folder) -> None:
    """A service's own limits win over those of `server:`."""
    found = folder.load("""
        server: {wait_s: 1, start_s: 2, start_max_s: 3, idle_s: never, drain_s: 5, grace_s: 6,
                 queue_max: 7}
        services:
          a: &a {process: {command: [sh]}}
          b: {<<: *a, wait_s: 11, start_s: 12, start_max_s: 13, idle_s: 14, drain_s: 15,
              grace_s: 16, queue_max: 17}
        """)

    def limits(name: str) -> list[Any]:
        service = found.services[ServiceId(name)]
        spec = service.spec
        waits = [service.wait_s, spec.start_s, spec.start_max_s, spec.idle_s, spec.drain_s]
        return [*waits, spec.grace_s, spec.queue_max]

    assert limits("a") == [1, 2, 3, None, 5, 6, 7]
    assert limits("b") == [11, 12, 13, 14, 15, 16, 17]


def test_container_as_compose_writes_it(folder: Folder) -> None:
    """Both shapes that compose has for a thing mean the same."""
    (folder.path / "data").mkdir()
    found = folder.load(
        """
        services:
          a: {container: {
            image: x:1.10, port: 80, command: "serve --n 1", environment: [A=1, B, C], gpus: all,
            volumes: ["./data:/data:ro", "cache:/cache"], ports: ["8081:80", "0.0.0.0:53:53/udp"],
            extra_hosts: ["h:1.2.3.4"], shm_size: 8g, mem_limit: 1g, user: 1000, devices: [/dev/x]}}
          b: {container: {
            image: x:1.10, port: 80, command: [serve, --n, 1], environment: {A: 1, B: , C: },
            volumes: [{source: ./data, target: /data, read_only: true},
                      {type: volume, source: cache, target: /cache}], gpus: 1,
            ports: ["127.0.0.1:8082:80"], extra_hosts: {h: 1.2.3.4}, shm_size: 8GiB,
            mem_limit: 1GiB, user: "1000", devices: [/dev/x]}}
        """,
        {**ENVIRON, "B": "ours"},
    )
    a, b = (found.services[ServiceId(name)].launch.what for name in "ab")
    common: dict[str, Any] = {
        "image": "x:1.10",
        "port": 80,
        "command": ("serve", "--n", "1"),
        "environment": (("A", "1"), ("B", "ours")),
        "mounts": (Mount(str(folder.path / "data"), "/data", True), Mount("cache", "/cache")),
        "gpus": True,
        "devices": ("/dev/x",),
        "extra_hosts": (("h", "1.2.3.4"),),
        "shm_size": 8 * GIB,
        "memory_limit": GIB,
        "user": "1000",
    }
    udp = PortBinding(53, 53, "0.0.0.0", "udp")
    assert a == ContainerSpec(**common, ports=(PortBinding(80, 8081), udp))
    assert b == ContainerSpec(**common, ports=(PortBinding(80, 8082),))


def test_claims(folder: Folder) -> None:
    """A total goes on any device that can take it, named devices share it in proportion."""
    assert placements(folder, "{vram: 12GiB}") == (Placement(((GPU0, 12 * GIB),)),)
    on_any = placements(folder, "{vram: 11GiB, ram: 1GiB}")
    assert on_any == tuple(Placement(((gpu, 11 * GIB), (RAM, GIB))) for gpu in (GPU0, GPU1))
    assert placements(folder, "{vram: {gpu1: 1GiB, gpu0: 2GiB}}") == (
        Placement(((GPU0, 2 * GIB), (GPU1, GIB))),
    )
    # 23.5 and 11 GiB can be claimed.
    assert placements(folder, "{vram: 34.5GiB, devices: [gpu1, gpu0]}") == (
        Placement(((GPU0, 23 * GIB + 512 * MIB), (GPU1, 11 * GIB))),
    )
    ((on0, on1),) = (
        place.amounts for place in placements(folder, "{vram: 7, devices: [gpu0, gpu1]}")
    )
    assert (on0, on1) == ((GPU0, 5), (GPU1, 2))
    assert placements(folder, "{vram: 0}") == (Placement(),)


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (
            "{vram: 24GiB}",
            (
                "vram: 24 GiB is more than any one device can give; if the service may use several"
                " together, name them: devices: [gpu0, gpu1]"
            ),
        ),
        (
            "{vram: 35GiB}",
            (
                "vram: can never be met: 35 GiB is more than there is on"
                " gpu0 (24 GiB less 512 MiB headroom) and gpu1 (12 GiB less 1 GiB headroom)"
            ),
        ),
        (
            "{vram: 30GiB, devices: [gpu0]}",
            (
                "vram: can never be met: 30 GiB is more than there is on"
                " gpu0 (24 GiB less 512 MiB headroom)"
            ),
        ),
        (
            "{vram: {gpu1: 11.5GiB}}",
            (
                "vram.gpu1: can never be met: 11.5 GiB is more than there is on"
                " gpu1 (12 GiB less 1 GiB headroom)"
            ),
        ),
        (
            "{ram: 32GiB}",
            (
                "ram: can never be met: 32 GiB is more than there is on"
                " ram (32 GiB less 512 MiB headroom)"
            ),
        ),
        ("{vram: {gpu2: 1GiB}}", "vram.gpu2: unknown device 'gpu2'; did you mean 'gpu1'?"),
        (
            "{vram: {ram: 1GiB}}",
            "vram.ram: unknown device 'ram'; claim main memory as `ram` beside `vram`",
        ),
        ("{vram: 1, devices: [gpu0, gpu0]}", "devices[1]: gpu0 is named twice"),
        ("{vram: 1, devices: []}", "devices: names no device"),
        ("{devices: [gpu0]}", "devices: says where `vram` goes, but no `vram` is claimed"),
        ("{vram: {gpu0: 1}, devices: [gpu0]}", "devices: `vram` names its devices already"),
    ],
)
def test_claims_that_cannot_be(folder: Folder, memory: str, said: str) -> None:
    """What can never be met is said now, not when somebody waits for it."""
    text = f"{DEVICES}services: {{a: {{process: {{command: sh}}, memory: {memory}}}}}"
    (problem,) = folder.problems(text)
    assert problem.split(": ", 1)[1] == f"services.a.memory.{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "1:1: services: is missing"),
        ("[]", "1:1: expected a mapping with `server:` and `services:`"),
        ("services: {}\nservers: {}", "2:1: servers: unknown key; did you mean 'server'?"),
        ("services: {A: {}}", "1:12: services.A: 'A' is no good name"),
        ("services: {a: {}}", "1:12: services.a: needs a `type`, a `container` or a `process`"),
        ("services: {a: {type: lama}}", "1:22: services.a.type: unknown type 'lama'"),
        (PLAIN + ", idle: 1}}", "1:42: services.a.idle: unknown key; did you mean 'idle_s'?"),
        (PLAIN + ", idle_s: soon}}", "1:50: services.a.idle_s: expected seconds, or"),
        (PLAIN + ", start_s: 0}}", "1:51: services.a.start_s: a duration is more than 0"),
        (PLAIN + ", pinned: yes}}", "services.a.pinned: expected true or false, not 'yes'"),
        (PLAIN + ", priority: 1.5}}", "services.a.priority: expected a whole number, not 1.5"),
        (PLAIN + ", aliases: x}}", "services.a.aliases: expected a list, not 'x'"),
        (PLAIN + ", aliases: [x, 'X y']}}", "services.a.aliases[1]: 'X y' is no good alias"),
        (PLAIN + ", aliases: [a]}}", "services.a.aliases[0]: 'a' is the id of service 'a' already"),
        (PLAIN + ", ready_line: '('}}", "services.a.ready_line: not a regular expression"),
        (PLAIN + ", ready: {path: x}}}", "services.a.ready.path: expected a path that starts"),
        (PLAIN + ", live: true}}", "services.a.live: expected a mapping, not true; or false"),
        (PLAIN + ", memory: {vram: 1G}}}", "services.a.memory.vram: claims memory of a GPU, but"),
        (PLAIN + ", runtime: docker}}", "services.a.runtime: docker does not run what is written"),
        (PLAIN + ", container: {}}}", "services.a.process: give a `container` or a `process`"),
        ("services: {a: {process: {}}}", "services.a.process.command: is missing"),
        ("services: {a: {process: {command: [nope]}}}", "no program 'nope' on PATH"),
        ("services: {a: {process: {command: ./nope}}}", "no program './nope' at /"),
        ("services: {a: {process: {command: \"'\"}}}", "cannot split the command into words"),
        ("services: {a: {container: {port: 1}}}", "services.a.container.image: is missing"),
        ("services: {a: {container: {image: x}}}", "services.a.container.port: is missing"),
        ("services: {a: {type: llamacpp}}", "1:12: services.a.model: is missing"),
        ("services: {a: {type: llamacpp, model: x}}", "1:39: services.a.model: no such file: /"),
        ("services:\n  a: ${env:NONE}", "services.a: the environment variable NONE is not set"),
        ("server: {port: 99}\n" + PLAIN + ", x-y: 1}, b: {process: {command: sh, port: 99}}}",
         "services.b.process.port: port 99 of this host is taken by the proxy itself"),
        ("server: {host: 0.0.0.0}", "server.host: 0.0.0.0: other machines can reach it there"),
        ("server: {devices: {ram: 1G}}", "server.devices.ram: main memory is not among the"),
        ("server: {devices: {gpu0: 24}}", "server.devices.gpu0: its `headroom` leaves nothing"),
        ("server: {on_shutdown: stopp}", "expected stop or leave, not 'stopp'; did you mean"),
        ("server: {log: {level: debug}}", "server.log.level: expected TRACE or DEBUG or"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(folder: Folder, text: str, said: str) -> None:
    """Each mistake has its message, at the line and column where it can be put right."""
    assert any(said in problem for problem in folder.problems(text))


def test_a_service_of_no_kind_is_one_mistake(folder: Folder) -> None:
    """What would follow from the missing kind is not told as well."""
    (problem,) = folder.problems("services: {a: {pinned: true}}")
    assert "needs a `type`" in problem


@pytest.mark.parametrize("secret", ["hunter2", "very-long-" * 20, 'it\'s \\ "odd"\n'])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN + ", priority: '${env:KEY}'}}",
        PLAIN + ", memory: {ram: '${env:KEY}'}}}",
        PLAIN + ", idle_s: '${env:KEY}', aliases: ['x ${env:KEY}']}}",
        "services: {a: {process: {command: ['${env:KEY}', b]}}}",
        "services: {a: {type: llamacpp, model: '/${env:KEY}'}}",
        "services: {a: {type: '${env:KEY}'}}",
        "server: {host: '${env:KEY}', port: '${env:KEY}', log: {level: '${env:KEY}'}}",
    ],
)
def test_what_the_environment_says_is_told_to_nobody(
    folder: Folder, text: str, secret: str
) -> None:
    """It may be a secret: a message names the variable, not the value or a part of it."""
    problems = folder.problems(text, {**ENVIRON, "KEY": secret})
    assert any("${env:KEY}" in problem for problem in problems)
    assert not any(secret[:7] in problem for problem in problems)


def test_all_that_is_wrong_is_told_at_once(folder: Folder) -> None:
    """One mistake hides no other, whatever the stage that finds it."""
    problems = folder.problems("""\
        server:
          prot: 1
          wait_s: 0
        services:
          a:
            type: llamacpp
            ctxx: 1
            gpu_layers: al
            memory: {vram: 1GiB}
            ctx: 1
            ctx: 2
          b: {container: {imag: x}, aliases: [a]}
          c: {process: {command: nope, port: 8787}, memory: {ram: 900TiB}, pinned: 1}
        """)
    assert [problem.split(": ")[1] for problem in problems] == [
        "server.prot",
        "server.wait_s",
        "services.a.model",
        "services.a.ctxx",
        "services.a.gpu_layers",
        "services.a.memory.vram",
        "services.a.ctx",
        "services.b.container.imag",
        "services.b.aliases[0]",
        "services.c.process.command",
        "services.c.process.port",
        "services.c.memory.ram",
        "services.c.pinned",
    ]


def test_two_services_on_one_port(folder: Folder) -> None:
    """A fixed port is given once, on an address that overlaps; the proxy's own is taken too."""
    text = """
        services:
          a: {container: {image: x, port: 80, ports: ["127.0.0.1:81:1", "127.0.0.2:82:1"]}}
          b: {container: {image: x, port: 80, ports: ["81:1/udp", "127.0.0.1:82:1"]}}
          c: {container: {image: x, port: 82, network_mode: host}}
          d: {process: {command: sh, port: 81}}
        """
    assert [problem.split(": ", 1)[1] for problem in folder.problems(text)] == [
        "services.c.container.port: port 82 of this host is taken by service 'a'",
        "services.d.process.port: port 81 of this host is taken by service 'a'",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1:1: the file is empty"),
        (b"a: 1\nb: \xff\n", "2:4: the file is not UTF-8"),
        ("services: {}".encode("utf-16"), "1:1: the file is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "1:1: the file is larger than 1 MiB"),
    ],
)
def test_files_that_cannot_be_read(folder: Folder, content: bytes, said: str) -> None:
    """What is no text at all is refused in one clear line."""
    folder.file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(folder.file, ENVIRON, find_gpus=no_gpus)
    assert str(caught.value).startswith(f"{folder.file}:{said}")


@pytest.mark.parametrize(("name", "said"), [("no", "No such file"), (".", "Is a directory")])
def test_files_that_are_none(folder: Folder, name: str, said: str) -> None:
    """A missing file and a folder are told apart."""
    with pytest.raises(SettingsError, match=f"cannot read the configuration: {said}"):
        load(folder.path / name, ENVIRON, find_gpus=no_gpus)


def test_byte_order_mark_is_no_key(folder: Folder) -> None:
    """Editors that write one do no harm."""
    folder.file.write_text("\N{BYTE ORDER MARK}services: {}")
    assert load(folder.file, ENVIRON, find_gpus=no_gpus).services == {}


def test_fingerprint_tells_what_runs(folder: Folder) -> None:
    """A found run is kept when only waits or priorities changed, else not."""

    def fingerprint(keys: str, words: str = "[sh]") -> str:
        found = folder.load(f"services: {{a: {{process: {{command: {words}}}{keys}}}}}")
        return found.services[ServiceId("a")].launch.fingerprint

    assert fingerprint("") == fingerprint(", priority: 3, start_s: 9, aliases: [x], pinned: true")
    assert fingerprint("") != fingerprint("", "[sh, -c]")


def test_problems_of_the_world_have_a_place(folder: Folder) -> None:
    """Whoever finds later that an image is missing can still say where it is written."""
    found = folder.load("services:\n  a: {container: {image: x, port: 1}}")
    problem = found.problem(("services", "a", "container", "image"), "is not here")
    assert str(problem) == f"{folder.file}:2:26: services.a.container.image: is not here"


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"HOME": "/h"}, "/h/.local/state/aiproxy"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/aiproxy"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/aiproxy"),
    ],
)
def test_state_goes_where_the_desktop_wants_it(
    folder: Folder, environ: dict[str, str], state_dir: str
) -> None:
    """XDG's rules hold."""
    assert folder.load("services: {}", environ).server.state_dir == Path(state_dir)


def test_example_of_the_documents_is_true(folder: Folder) -> None:
    """The commented example loads as it stands, given its models."""
    for name in ("coder", "large", "embedder"):
        folder.model(f"{name}.gguf")
    for name in ("llama-server", "python3"):
        folder.model(name).chmod(0o755)
    environ = {**ENVIRON, "MODELS": str(folder.path), "PATH": str(folder.path)}
    found: Settings = load(ROOT / "docs/examples/aiproxy.yaml", environ)
    assert list(found.services) == ["coder", "large", "embedder", "vision", "notes"]
    assert found.services[ServiceId("vision")].runtime == "docker"
    assert len(found.services[ServiceId("large")].spec.placements[0].devices) == 2


KEYS = st.sampled_from(
    "healthcheck env_file ulimits tmpfs deploy labels "
    "server services devices ram headroom type container process command image port ports memory "
    "vram environment volumes aliases ready live path status idle_s model ctx gpu_layers log level "
    "coder gpu0 x-a queue_max runtime args extra_hosts gpus".split()
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(),
    st.sampled_from(["llamacpp", "custom", "docker", "1GiB", "5m", "sh", "auto", "a:b", "/", "~x"]),
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
SERVICES = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=8), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(server=st.dictionaries(KEYS, VALUES, max_size=8) | VALUES, services=SERVICES | VALUES)
def test_any_shape_is_read_or_refused(folder: Folder, server: Any, services: Any) -> None:
    """Known keys in wrong places with wrong values never fail in another way."""
    text = yaml.safe_dump({"server": server, "services": services}, allow_unicode=True)
    folder.file.write_text(text, encoding="utf-8")
    with suppress(SettingsError):
        load(folder.file, ENVIRON, find_gpus=no_gpus)


def test_a_policy_that_is_unknown_is_told(folder: Folder) -> None:
    """With the names that there are, and the one that may be meant."""
    [problem] = folder.problems("server: {policy: lur}\nservices: {}")
    assert problem.startswith("1:18: server.policy: unknown policy 'lur'; there are cost_rate, ")
    assert problem.endswith("; did you mean 'lru'?")
    assert folder.load("server: {policy: lru}\nservices: {}").server.policy == "lru"
