"""Compose files of real projects become configurations, and no line of them is lost in silence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from proxycore import ServiceId
from proxyserver.compose import Converted, import_compose
from proxyserver.runtime._protocol import ContainerSpec, Mount, Probe, Ulimit
from proxyserver.settings import Service, Settings, SettingsError
from proxyserver.settings._compose_keys import WHY_NOT
from tests.gguf.writing import dense, dense_tensors, words, write
from tests.settings.writing import ENVIRON, Folder

FILES = sorted((Path(__file__).parent / "files").iterdir())
ENVIRON_OF_THEIRS = ENVIRON | {"HF_TOKEN": "secret", "DOCKER_HOST": "unix:///none"}
GPUS = "server: {devices: {gpu0: 24GiB}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder with what the files mount; it is our home too."""
    path = tmp_path / "My Project"
    for name in ("models", "data"):
        (path / name).mkdir(parents=True)
    (path / "config.yml").touch()
    write(path / "models" / "x.gguf", dense(2) | words(), dense_tensors(2))
    (path / ".cache/huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(path))
    return Folder(path)


def converted(folder: Folder, text: str, *only: str) -> Converted:
    file = folder.path / "compose.yaml"
    file.write_text(text)
    return import_compose(file, only)


def file_of(name: str) -> str:
    return (Path(__file__).parent / "files" / f"{name}.yaml").read_text()


def loaded(folder: Folder, text: str) -> Settings:
    """Read what was printed as `aiproxy serve` would."""
    environ = ENVIRON_OF_THEIRS | {"PWD": str(folder.path)}
    return folder.load(GPUS + converted(folder, text).text, environ)


def one(folder: Folder, text: str, name: str) -> tuple[Service, ContainerSpec]:
    service = loaded(folder, text).services[ServiceId(name)]
    assert isinstance(service.launch.what, ContainerSpec)
    return service, service.launch.what


def told(result: Converted) -> dict[str, str]:
    return {remark.path: remark.message for remark in result.remarks}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_of_projects_are_converted(folder: Folder, file: Path) -> None:
    """The result is a good configuration as it stands."""
    assert loaded(folder, file.read_text()).services


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_key_is_lost_in_silence(folder: Folder, file: Path) -> None:
    """Each key of each service is in the result, or it is told why not."""
    result = converted(folder, file.read_text())
    ours = list(yaml.safe_load(result.text)["services"].values())
    theirs = list(yaml.safe_load(file.read_text())["services"].items())
    paths = [remark.path for remark in result.remarks]
    for (name, service), mine in zip(theirs, ours, strict=True):
        for key in service:
            renamed = {"deploy": "gpus", "stop_grace_period": "grace_s"}.get(key, key)
            taken = renamed in mine["container"] or renamed in mine
            here = f"services.{name}.{key}"
            assert taken or any(path.startswith(here) for path in paths), (name, key)


def test_llamacpp(folder: Folder) -> None:
    """A model on the disk makes it a `llamacpp` service; one by name stays a container."""
    service, container = one(folder, file_of("llamacpp"), "llamacpp-server")
    assert (service.type, service.spec.aliases) == ("llamacpp", ("qwen",))
    assert container.image == "ghcr.io/ggml-org/llama.cpp:server-cuda"
    assert container.gpus
    assert container.command is not None
    assert container.command[:2] == ("--model", "/models/x.gguf")
    assert container.command[-4:] == ("-n", "512", "--alias", "qwen")
    assert (container.port, container.ports) == (8080, ())
    assert ("LLAMA_ARG_NO_WEBUI", "1") in container.environment
    service, container = one(folder, file_of("llamacpp"), "downloads")
    assert (service.type, container.port) == ("custom", 8080)
    assert container.command == ("-hf", "ggml-org/gemma-3-1b-it-GGUF")
    assert container.mounts == (Mount("myproject_cache", "/root/.cache/llama.cpp"),)
    assert service.launch.ready == Probe("/health")


def test_vllm(folder: Folder) -> None:
    """References to the environment are ours, and the model's name is an alias."""
    service, container = one(folder, file_of("vllm"), "vllm")
    assert (service.type, service.spec.aliases) == ("vllm", ("Qwen/Qwen3-8B",))
    assert (container.port, container.ipc, container.runtime) == (8000, "host", "nvidia")
    assert dict(container.environment)["HUGGING_FACE_HUB_TOKEN"] == "secret"
    assert container.command is not None
    assert (container.command[0], "8192" in container.command) == ("Qwen/Qwen3-8B", True)
    assert [mount.target for mount in container.mounts].count("/root/.cache/huggingface") == 1
    assert Ulimit("stack", 67108864, 67108864) in container.ulimits
    assert service.launch.ready == Probe("/health")
    without = {key: value for key, value in ENVIRON_OF_THEIRS.items() if key != "HF_TOKEN"}
    text = GPUS + converted(folder, file_of("vllm")).text
    assert any("HF_TOKEN is not set" in said for said in folder.problems(text, without))


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        (
            "org/m --dtype=half -tp 2 --enforce-eager --foo bar --port 8000",
            {
                "type": "vllm",
                "model": "org/m",
                "dtype": "half",
                "tensor_parallel_size": 2,
                "enforce_eager": True,
                "args": ["--foo", "bar"],
                "aliases": ["org/m"],
            },
        ),
        (
            "--model /models/x --served-model-name n --gpu-memory-utilization 0.5",
            {
                "type": "vllm",
                "model": "./models/x",
                "gpu_memory_utilization": 0.5,
                "aliases": ["n"],
            },
        ),
        (
            "--model org/m --served-model-name=n",
            {"type": "vllm", "model": "org/m", "aliases": ["n"]},
        ),
        ("--model /elsewhere/x", {"ready": {"path": "/health"}}),
        ("--model org/m --served-model-name n m", {"ready": {"path": "/health"}, "aliases": ["n"]}),
        ("--model ${MODEL}", {"ready": {"path": "/health"}}),
    ],
)
def test_vllm_commands(folder: Folder, command: str, ours: dict[str, Any]) -> None:
    """What the type has options for becomes options; what it cannot say stays a command."""
    keys = f"image: vllm/vllm-openai, volumes: ['./models:/models'], command: '{command}'"
    text = f"services: {{a: {{{keys}}}}}"
    service = yaml.safe_load(converted(folder, text).text)["services"]["a"]
    assert ("command" in service.pop("container")) is ("type" not in ours)
    assert service == ours


def test_tei(folder: Folder) -> None:
    """Names, limits, networks and volumes of a file with a bit of everything."""
    result = converted(folder, file_of("tei"))
    service, container = one(folder, file_of("tei"), "embed_docs")
    assert (container.port, container.memory_limit, container.gpus) == (80, 8 << 30, True)
    assert (container.networks, container.tmpfs) == (("front", "backbone"), ("/tmp",))
    assert container.mounts == (Mount(f"{folder.path}/data", "/data"),)
    assert service.spec.grace_s == 90.0
    at = "services.Embed_Docs"
    reserved = f"{at}.deploy.resources"
    assert told(result).keys() == {
        "version", "x-gpu", "networks.front", "networks.back", "secrets", at,
        f"{reserved}.limits.pids", f"{reserved}.reservations.memory",
        f"{reserved}.reservations.devices[0].count",
        f"{at}.expose", f"{at}.volumes[0]", f"{at}.volumes[1]", f"{at}.networks.front",
        f"{at}.logging", f"{at}.cgroups", f"{at}.command",
    }  # fmt: skip


def test_remarks_have_their_line_and_stand_above_their_service(folder: Folder) -> None:
    """Who reads the result later finds them there."""
    result = converted(folder, file_of("tabby"))
    said = [str(remark).split(": ", 1)[0] for remark in result.remarks]
    assert f"{folder.path}/compose.yaml:5:5" in said
    lines = result.text.splitlines()
    assert any(line.startswith("  # line 5: build: not taken: images are not") for line in lines)


def test_only_some_services(folder: Folder) -> None:
    """The others are told of; an unknown name is an error."""
    result = converted(folder, file_of("ollama"), "ollama")
    assert list(yaml.safe_load(result.text)["services"]) == ["ollama"]
    assert told(result)["services.open-webui"].startswith("left out")
    with pytest.raises(SettingsError, match="there is no 'olama'; there are: ollama, open-webui"):
        converted(folder, file_of("ollama"), "olama")


@pytest.mark.parametrize("key", [*WHY_NOT, "nonsense"])
def test_refused_keys_are_told_with_the_reason(folder: Folder, key: str) -> None:
    """Each of them, or what it became."""
    result = converted(folder, f"services: {{a: {{image: x, {key}: '1'}}}}")
    if key == "stop_grace_period":
        assert yaml.safe_load(result.text)["services"]["a"]["grace_s"] == "1"
    else:
        assert told(result)[f"services.a.{key}"]


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        ("$A", "${env:A:-}"),
        ("${A}b$$c", "${env:A:-}b$$c"),
        ("${A:-x}", "${env:A:-x}"),
        ("${A-x}", "${env:A:-x}"),
        ("${A:?needed}", "${env:A}"),
        ("${A:-${B}}", "${env:A:-}"),
        ("${A:+x}", ""),
        ("1e3", "1e3"),
        ("0o17", "0o17"),
        ("no", "no"),
        ("${PORT}:1", "${env:PORT:-}:1"),
    ],
)
def test_texts(folder: Folder, value: str, ours: str) -> None:
    """References are rewritten; a text stays a text, whatever number it looks like."""
    text = f"services: {{a: {{image: x, ports: ['1:1'], hostname: '{value}'}}}}"
    assert yaml.safe_load(converted(folder, text).text)["services"]["a"]["container"] == {
        "image": "x", "hostname": ours, "port": 1
    }  # fmt: skip
    if "$" not in value:
        assert one(folder, text, "a")[1].hostname == ours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {}", "there are none: is this a compose file?"),
        ("a: 1", "there are none: is this a compose file?"),
        ("- 1", "there are none: is this a compose file?"),
        ("services: {a: {image: x}", "broken YAML"),
        ("services: {a: {image: !reset x}}", "'x' will not do for the tag '!reset'"),
    ],
)
def test_what_is_no_compose_file(folder: Folder, text: str, message: str) -> None:
    """It says so, with the place."""
    with pytest.raises(SettingsError) as caught:
        converted(folder, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("ports: 80", "ports"),
        ("ports: ['8000-8010:80-90']", "ports[0]"),
        ("ports: ['80', '81']", "ports[1]"),
        ("volumes: [{type: npipe, source: a, target: b}]", "volumes[0]"),
        ("network_mode: 'service:b'", "network_mode"),
        ("cpus: many", "cpus"),
        ("shm_size: much", "shm_size"),
        ("deploy: {replicas: 2}", "deploy.replicas"),
        ("image: ", "image"),
        ("ports: []", ""),
    ],
)
def test_odd_values(folder: Folder, keys: str, path: str) -> None:
    """They are told of, and the rest is converted."""
    result = converted(
        folder, f"services: {{a: {{image: y, {keys}}}}}".replace("image: y, image", "image")
    )
    assert ".".join(filter(None, ("services.a", path))) in told(result)


def test_any_values_are_converted_or_told_of(folder: Folder) -> None:
    """Nothing that YAML can say breaks the conversion."""
    odd: list[Any] = [None, True, 0, 1.5, "", "x", [], ["x"], [None], [[]], {}, {"a": None}, [{}]]
    keys = "image command ports volumes deploy networks gpus healthcheck extra_hosts tmpfs expose"
    for key in (*keys.split(), "entrypoint", "environment", "ulimits", "runtime", "env_file"):
        for value in odd:
            text = yaml.safe_dump({"services": {"a": {"image": "vllm/vllm-openai", key: value}}})
            converted(folder, text)
    for part in ("resources", "limits", "reservations", "devices"):
        for value in odd:
            inner: Any = {part: value}
            if part == "devices":
                inner = {"reservations": inner}
            deploy = inner if part == "resources" else {"resources": inner}
            converted(folder, yaml.safe_dump({"services": {"a": {"deploy": deploy}}}))


@pytest.mark.parametrize("policy", ["missing", "if_not_present"])
def test_a_missing_image_is_fetched_as_compose_would(folder: Folder, policy: str) -> None:
    """`always` is not taken over: a start must not hang on a registry."""
    result = converted(folder, f"services: {{a: {{image: x, pull_policy: {policy}}}}}")
    assert yaml.safe_load(result.text)["services"]["a"]["pull"] == "missing"
    assert "services.a.pull_policy" not in told(result)
    always = converted(folder, "services: {a: {image: x, pull_policy: always}}")
    assert "pull: missing" in told(always)["services.a.pull_policy"]


CUDA = "latest-cuda-12.6.3"


@pytest.mark.parametrize(
    ("image", "command", "ours"),
    [
        (
            "michaelf34/infinity:latest-cpu",
            "v2 --model-id BAAI/bge-m3 --model-id org/rerank --engine torch --port 7997 --x",
            {
                "type": "infinity",
                "variant": "cpu",
                "model": ["BAAI/bge-m3", "org/rerank"],
                "engine": "torch",
                "args": ["--x"],
            },
        ),
        (
            "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9",
            "--model-id BAAI/bge-m3 --dtype float16 --auto-truncate --port 80",
            {
                "type": "tei",
                "variant": "cpu",
                "model": "BAAI/bge-m3",
                "dtype": "float16",
                "auto_truncate": True,
            },
        ),
        # What an option does not take stays an argument.
        (
            "ghcr.io/huggingface/text-embeddings-inference:1.9",
            "--model-id /models/m --dtype bfloat16",
            {"type": "tei", "model": "./models/m", "args": ["--dtype", "bfloat16"]},
        ),
        (
            "lmsysorg/sglang:latest",
            "python3 -m sglang.launch_server --model-path org/m --tp 2 --mem-fraction-static 0.7",
            {"type": "sglang", "model": "org/m", "tp_size": 2, "mem_fraction_static": 0.7},
        ),
        ("lmsysorg/sglang:latest", "bash -c run", {}),
        (
            "openmmlab/lmdeploy:latest",
            "lmdeploy serve api_server org/m --session-len 8192 --server-port 23333",
            {"type": "lmdeploy", "model": "org/m", "session_len": 8192},
        ),
        ("ollama/ollama:rocm", None, {"type": "ollama", "variant": "rocm"}),
        (
            "ghcr.io/ggml-org/whisper.cpp:main",
            "'whisper-server -m /models/x.gguf -t 4 --language de --host 0.0.0.0 --convert'",
            {
                "type": "whispercpp",
                "variant": "cpu",
                "model": "./models/x.gguf",
                "threads": 4,
                "language": "de",
                "convert": True,
            },
        ),
        (
            "ghcr.io/leejet/stable-diffusion.cpp:master",
            "-m /models/x.gguf --diffusion-fa --listen-port 1234",
            {"type": "sdcpp", "model": "./models/x.gguf", "diffusion_fa": True},
        ),
        (f"ghcr.io/speaches-ai/speaches:{CUDA}", None, {"type": "speaches"}),
        (
            "ghcr.io/remsky/kokoro-fastapi-cpu:latest",
            None,
            {"type": "kokoro", "variant": "cpu"},
        ),
        (
            "quay.io/docling-project/docling-serve:latest",
            "docling-serve run --enable-ui",
            {"type": "docling", "enable_ui": True},
        ),
        ("yanwk/comfyui-boot:cu126-slim", None, {"type": "comfyui"}),
        # These are told by files and variables of their own: known, and left as they are.
        ("koboldai/koboldcpp", None, {}),
        ("ghcr.io/theroyallab/tabbyapi:latest", None, {}),
    ],
    ids=lambda value: value.split("/")[-1][:20] if isinstance(value, str) else "",
)
def test_images_of_every_type(
    folder: Folder, image: str, command: str | None, ours: dict[str, Any]
) -> None:
    """They become services of their type where options can say the command, and are usable."""
    said = "" if command is None else f", command: {command}"
    text = f"services: {{a: {{image: '{image}', volumes: ['./models:/models']{said}}}}}"
    (folder.path / "models" / "m").mkdir()
    service = yaml.safe_load(converted(folder, text).text)["services"]["a"]
    container = service.pop("container")
    service.pop("aliases", None)
    assert ("command" in container) is ("type" not in ours and command is not None)
    assert {key: value for key, value in service.items() if key != "ready"} == ours
    assert ("ready" in service) is ("type" not in ours)
    assert one(folder, text, "a")[0].type == ours.get("type", "custom")


def test_what_a_type_decides_is_not_taken_over(folder: Folder) -> None:
    """Else Ollama would unload by itself what the proxy believes to be loaded."""
    environment = "[OLLAMA_KEEP_ALIVE=24h, OLLAMA_DEBUG=1]"
    text = f"services: {{a: {{image: ollama/ollama, environment: {environment}}}}}"
    assert told(converted(folder, text))["services.a.environment"] == (
        "OLLAMA_KEEP_ALIVE is not taken: `type: ollama` says it"
    )
    variables = dict(one(folder, text, "a")[1].environment)
    assert (variables["OLLAMA_KEEP_ALIVE"], variables["OLLAMA_DEBUG"]) == ("-1", "1")
