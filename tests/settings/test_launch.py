"""How a template's draft and the user's own keys become one launch."""

import socket
from pathlib import Path

import pytest

from proxycore import ServiceId
from proxycore.config import idle_auto_s
from proxyserver.runtime._protocol import (
    ContainerSpec,
    LaunchSpec,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
)
from proxyserver.settings import Service

from .writing import ENVIRON, Folder


@pytest.fixture
def folder(folder: Folder) -> Folder:
    """A folder with a model and a server in it."""
    folder.model("x.gguf", 1 << 30)
    folder.model("bin/llama-server").chmod(0o755)
    return folder


def service(folder: Folder, keys: str, server: str = "{}") -> Service:
    environ = {**ENVIRON, "PATH": str(folder.path / "bin"), "DOCKER_HOST": "unix:///none"}
    text = f"server: {server}\nservices: {{a: {{type: llamacpp, model: x.gguf, {keys}}}}}"
    return folder.load(text, environ).services[ServiceId("a")]


def container(launch: LaunchSpec) -> ContainerSpec:
    assert isinstance(launch.what, ContainerSpec)
    return launch.what


def process(launch: LaunchSpec) -> ProcessSpec:
    assert isinstance(launch.what, ProcessSpec)
    return launch.what


def test_own_keys_of_a_container_win(folder: Folder) -> None:
    """Single values replace the draft's, environment and volumes are added to it."""
    keys = "api_key: k, container: {image: my:1, port: 99, gpus: false, healthcheck: true,"
    keys += " environment: {A: 1}, volumes: [./bin:/bin]}"
    found = container(service(folder, keys).launch)
    assert (found.image, found.port, found.gpus, found.healthcheck) == ("my:1", 99, False, True)
    assert found.environment == (("A", "1"), ("LLAMA_API_KEY", "k"))
    assert [mount.target for mount in found.mounts] == ["/models/x.gguf", "/bin"]
    assert found.command is not None
    assert found.command[:2] == ("--model", "/models/x.gguf")


def test_own_volume_on_the_same_target_replaces(folder: Folder) -> None:
    """Two mounts on one place would be an error of the engine."""
    found = service(folder, "container: {volumes: ['./bin:/models/x.gguf']}")
    assert container(found.launch).mounts == (Mount(str(folder.path / "bin"), "/models/x.gguf"),)


def test_own_keys_of_a_process_win(folder: Folder) -> None:
    """The command can be replaced as a whole; its place is the folder of the file."""
    found = service(folder, "process: {command: ./bin/llama-server -x, environment: [A=1]}")
    assert process(found.launch) == ProcessSpec(
        (str(folder.path / "bin/llama-server"), "-x"), (("A", "1"),), str(folder.path)
    )


def test_binary_is_found_from_the_folder_of_the_file(folder: Folder) -> None:
    """PATH and relative paths lead to the same program."""
    for keys in ("", "binary: bin/llama-server"):
        found = process(service(folder, f"runtime: process, {keys}").launch)
        assert found.command[0] == str(folder.path / "bin/llama-server")


def test_guesses_of_the_template(folder: Folder) -> None:
    """The load time is the template's guess until somebody says better, and idleness follows."""
    assert service(folder, "").spec.load_s == pytest.approx(2.0)
    said = service(folder, "load_s: 1m").spec
    assert (said.load_s, said.idle_s) == (60.0, idle_auto_s(60.0))


def test_own_probes_win(folder: Folder) -> None:
    """Readiness and liveness can be replaced, the latter switched off."""
    found = service(folder, "ready: {path: /r, status: 204}, ready_line: x, live: false").launch
    assert (found.ready, found.ready_line, found.live) == (Probe("/r", 204), "x", None)
    assert service(folder, "live: {path: /l}").launch.live == LiveProbe("/l", 200)


@pytest.mark.parametrize(
    ("keys", "server", "runtime"),
    [
        ("", "{}", "process"),
        ("", "{runtime: docker}", "docker"),
        ("runtime: process", "{runtime: docker}", "process"),
        ("runtime: auto", "{runtime: docker}", "docker"),
        ("", "{docker: {host: 'tcp://127.0.0.1:1'}}", "docker"),
        ("container: {ipc: host}", "{runtime: process}", "docker"),
        ("process: {port: 9}", "{runtime: docker}", "process"),
    ],
)
def test_runtime(folder: Folder, keys: str, server: str, runtime: str) -> None:
    """The nearest word decides, then whether there is an engine."""
    found = service(folder, keys, server)
    assert found.runtime == runtime
    assert isinstance(found.launch.what, ContainerSpec) is (runtime == "docker")


def test_runtime_is_docker_where_its_socket_is(folder: Folder, tmp_path: Path) -> None:
    """A socket file is taken for an engine; whether it answers is seen later."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        found = service(folder, "", f"{{docker: {{host: 'unix://{tmp_path}/s'}}}}")
    assert found.runtime == "docker"


def test_missing_binary_says_what_to_do(folder: Folder) -> None:
    """Without an engine the program itself is needed."""
    (folder.path / "bin/llama-server").unlink()
    environ = {**ENVIRON, "DOCKER_HOST": "unix:///none"}
    assert folder.problems("services: {a: {type: llamacpp, model: x.gguf}}", environ) == [
        (
            "1:12: services.a.binary: no program 'llama-server' on PATH; name another, or take"
            " `runtime: docker`"
        )
    ]
