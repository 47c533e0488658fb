"""What compose's keys mean under `container:`, and what is said of those that are not taken."""

from pathlib import Path

import pytest

from proxycore import Placement, RunId, ServiceId
from proxyserver.runtime._containers import Owner, create_arguments
from proxyserver.runtime._protocol import ContainerSpec, Healthcheck, Ulimit
from proxyserver.settings._compose_keys import WHY_NOT
from proxyserver.settings._model import ContainerEntry

from .writing import Folder

A = ServiceId("a")


def container(folder: Folder, keys: str) -> ContainerSpec:
    text = f"services: {{a: {{container: {{image: x, port: 80, {keys}}}}}}}"
    what = folder.load(text).services[A].launch.what
    assert isinstance(what, ContainerSpec)
    return what


def problem(folder: Folder, keys: str) -> str:
    """Return the one thing that is wrong with a container."""
    [said] = folder.problems(f"services: {{a: {{container: {{image: x, port: 80, {keys}}}}}}}")
    return said.split(": ", 1)[1].removeprefix("services.a.container.")


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        (
            "ulimits: {memlock: -1, nofile: {soft: 1, hard: 2}}",
            "ulimits",
            (Ulimit("memlock", -1, -1), Ulimit("nofile", 1, 2)),
        ),
        ("tmpfs: /run", "tmpfs", ("/run",)),
        ("tmpfs: [/run, '/tmp:size=64m']", "tmpfs", ("/run", "/tmp:size=64m")),
        ("group_add: [video, 109]", "group_add", ("video", "109")),
        ("cap_add: [SYS_PTRACE]", "cap_add", ("SYS_PTRACE",)),
        ("cap_drop: [ALL]", "cap_drop", ("ALL",)),
        ("security_opt: ['seccomp=unconfined']", "security_opt", ("seccomp=unconfined",)),
        ("privileged: true", "privileged", True),
        ("read_only: true", "read_only", True),
        ("sysctls: ['net.core.somaxconn=99']", "sysctls", (("net.core.somaxconn", "99"),)),
        ("dns: 127.0.0.53", "dns", ("127.0.0.53",)),
        ("hostname: h", "hostname", "h"),
        ("pid: host", "pid", "host"),
        ("init: false", "init", False),
        ("stop_signal: SIGINT", "stop_signal", "SIGINT"),
        ("labels: {a: 1, b: true}", "labels", (("a", "1"), ("b", "true"))),
        ("labels: [a=1, b]", "labels", (("a", "1"), ("b", ""))),
        ("runtime: nvidia", "runtime", "nvidia"),
        ("platform: linux/amd64", "platform", "linux/amd64"),
        ("cpus: '1.5'", "cpus", 1.5),
        ("cpuset: 0-3", "cpuset", "0-3"),
        ("healthcheck: true", "healthcheck", True),
        ("healthcheck: false", "healthcheck", False),
        ("healthcheck: {disable: true}", "healthcheck", False),
        ("healthcheck: {test: [NONE]}", "healthcheck", False),
        (
            "healthcheck: {test: curl x, interval: 1m30s, retries: 3}",
            "healthcheck",
            Healthcheck(("CMD-SHELL", "curl x"), 90.0, None, None, 3),
        ),
        (
            "deploy: {resources: {limits: {memory: 2g, cpus: '3'}}}",
            "memory_limit",
            2 << 30,
        ),
        ("deploy: {resources: {limits: {cpus: '3'}}}", "cpus", 3.0),
        (
            "deploy: {resources: {reservations: {devices: [{count: all, capabilities: [gpu]}]}}}",
            "gpus",
            True,
        ),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [tpu]}]}}}", "gpus", False),
        (
            "gpus: false, deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
            "gpus",
            False,
        ),
    ],
)
def test_keys_of_compose(folder: Folder, keys: str, field: str, value: object) -> None:
    """Each means what it means there."""
    assert getattr(container(folder, keys), field) == value


def test_environment_of_files(folder: Folder) -> None:
    """The later file wins over the earlier, and `environment` over both; quotes are taken off."""
    (folder.path / "one.env").write_text("# nothing\n\nexport A=1\nB='two words' \nC=3 # why\nD=\n")
    (folder.path / "two.env").write_text("A=2\n")
    files = "env_file: [one.env, {path: two.env}, {path: none.env, required: false}]"
    found = container(folder, f"{files}, environment: {{C: c}}").environment
    assert dict(found) == {"A": "2", "B": "two words", "C": "c", "D": ""}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("env_file: none.env", "env_file: no such file: "),
        ("env_file: bad.env", "env_file: "),
        ("ulimits: {nofile: {soft: 1}}", "ulimits: 'nofile': expected a number, or `soft`"),
        ("healthcheck: {test: [curl]}", "healthcheck.test: expected a text, or a list that begins"),
        ("healthcheck: {intervall: 1s}", "healthcheck.intervall: unknown key; did you mean"),
        ("cpus: many", "cpus: expected a number of processors, not 'many'"),
        ("labels: {aiproxy.run: 1}", "labels: 'aiproxy.run': labels that begin"),
        ("restart: always", "restart: not taken: the proxy starts a service when"),
        ("stop_grace_period: 1m", "stop_grace_period: not taken: write `grace_s` beside"),
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [], device_ids: []}]}}}",
            "deploy.resources.reservations.devices[0].device_ids: unknown key",
        ),
    ],
)
def test_what_is_not_taken_says_why(folder: Folder, keys: str, said: str) -> None:
    """The reason, or what to write instead; a secret in a file is never repeated."""
    (folder.path / "bad.env").write_text("A=1\nhunter2\n")
    told = problem(folder, keys)
    assert told.startswith(said)
    assert "hunter2" not in told


def test_refused_keys_are_not_taken_too() -> None:
    """No key is both read and refused, and every reason is one."""
    assert WHY_NOT.keys().isdisjoint(ContainerEntry.__annotations__)
    assert all(why and not why.endswith(".") for why in WHY_NOT.values())


def test_only_what_was_said_is_asked_of_the_engine(folder: Folder) -> None:
    """A plain container has none of the newer arguments, which an old engine may not know."""
    spec = folder.load("services: {a: {container: {image: x, port: 80}}}").services[A].launch
    owner = Owner("i", A, RunId(1))
    plain = create_arguments(owner, spec, Placement())
    assert not plain.keys() & {"platform", "runtime", "ulimits", "tmpfs", "privileged", "dns"}
    assert plain["init"] is True


def test_paths_of_environment_files_start_at_the_configuration(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder in which the proxy happens to start does not matter."""
    (folder.path / "sub").mkdir()
    (folder.path / "sub" / "a.env").write_text("A=1\n")
    monkeypatch.chdir("/")
    assert container(folder, "env_file: ./sub/a.env").environment == (("A", "1"),)
