"""What is shown of a configuration is complete, and has no secret in it."""

import json
from typing import Any

import pytest
import yaml

from proxyserver.settings import show
from tests.gguf.writing import dense, dense_tensors, words, write

from .writing import ENVIRON, Folder

SECRET = "correct-horse"
HERE = "server: {ram: 8GiB, devices: {gpu0: {memory: 24GiB, headroom: 1GiB}}}\n"


def resolved(folder: Folder, text: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    return show.resolved(folder.load(text, ENVIRON | (environ or {})))


def test_all_of_a_service(folder: Folder) -> None:
    """Defaults, claims, command and probes, as they will be used."""
    text = HERE + (
        "services:\n  a:\n    memory: {vram: 3GiB}\n    aliases: [x]\n"
        "    container: {image: i, port: 80, command: run it, volumes: ['data:/d:ro'],"
        " shm_size: 1G, ports: ['81:82'], environment: {A: 1}}\n"
    )
    assert resolved(folder, text)["services"] == {
        "a": {
            "type": "custom",
            "runtime": "docker",
            "aliases": ["x"],
            "claims": [{"gpu0": 3 << 30}],
            "concurrency": None,
            "priority": 0,
            "pinned": False,
            "queue_max": 256,
            "load_s": 10.0,
            "wake_s": 2.0,
            "wait_s": 600.0,
            "start_s": 300.0,
            "start_max_s": 1800.0,
            "drain_s": 120.0,
            "drain_cuts": False,
            "grace_s": 10.0,
            "idle_s": 1600.0,
            "pull": "never",
            "container": {
                "image": "i",
                "port": 80,
                "command": ["run", "it"],
                "environment": {"A": "1"},
                "volumes": ["data:/d:ro"],
                "ports": ["127.0.0.1:81:82/tcp"],
                "shm_size": 1 << 30,
            },
            "ready": {"path": "/", "status": None},
            "live": False,
            "closed": [],
        }
    }


def test_all_of_the_server(folder: Folder) -> None:
    """Every setting, those that are left out with their defaults; devices with their sizes."""
    server = resolved(folder, f"{HERE}services: {{}}")["server"]
    assert (server["port"], server["policy"], server["body_max"]) == (8787, "cost_rate", 64 << 20)
    assert server["devices"] == {
        "gpu0": {"memory": 24 << 30, "headroom": 1 << 30},
        "ram": {"memory": 8 << 30, "headroom": 512 << 20},
    }


def test_what_a_template_makes(folder: Folder) -> None:
    """The command line, and what is claimed by estimate with the remark on that."""
    write(folder.path / "x.gguf", dense(2) | words(), dense_tensors(2))
    shown = resolved(
        folder, f"{HERE}services: {{a: {{type: llamacpp, runtime: docker, model: x.gguf}}}}"
    )["services"]["a"]
    assert shown["container"]["image"].startswith("ghcr.io/ggml-org/llama.cpp:")
    assert "--model" in shown["container"]["command"]
    assert shown["container"]["volumes"] == [f"{folder.path}/x.gguf:/models/x.gguf:ro"]
    assert shown["claims"][0]["gpu0"] > 0
    assert shown["remarks"][0].startswith("none is declared; claims ")
    assert shown["ready"] == {"path": "/health", "status": 200}


def test_models_of_a_server(folder: Folder) -> None:
    """Each for itself, without what is its server's."""
    text = f"{HERE}services: {{a: {{type: ollama, runtime: docker, models: [{{name: m}}]}}}}"
    shown = resolved(folder, text)["services"]["a/m"]
    assert (shown["model"], shown["load_s"], "container" in shown) == ("m", 10.0, False)


SECRETS = [
    "container: {image: i, port: 1, environment: {HF_TOKEN: %s}}",
    "container: {image: i, port: 1, environment: [API_KEY=%s]}",
    "container: {image: i, port: 1, command: [serve, --api-key, %s]}",
    "container: {image: i, port: 1, command: [serve, --api-key=%s]}",
    "container: {image: i, port: 1, command: serve --auth-token %s -v}",
    "container: {image: i, port: 1, labels: {my.password: %s}}",
    "external: {url: 'http://h:1', authorization: Bearer %s}",
    "{type: vllm, model: Qwen/Q, hf_token: %s, runtime: docker}",
]


@pytest.mark.parametrize("service", SECRETS)
def test_secrets_are_masked(folder: Folder, service: str) -> None:
    """What is called like a secret is not shown, in either form."""
    service = service if service.startswith("{") else f"{{{service}}}"
    text = f"{HERE}services: {{a: {service % SECRET}}}"
    made = resolved(folder, text)
    for shown in (made, show.as_written(folder.file)):
        assert SECRET not in json.dumps(shown)
        assert show.MASK in json.dumps(shown)


@pytest.mark.parametrize(
    "service",
    [
        "container: {image: i, port: 1, environment: {PLAIN: '${env:S}'}}",
        "container: {image: i, port: 1, environment: {S: }}",
        "container: {image: i, port: 1, environment: [S]}",
        "container: {image: i, port: 1, env_file: s.env, environment: {HOME: /x}}",
        "process: {command: [sh, 'x ${env:S} y']}",
        "process: {command: sh, environment: {S: }}",
        "type: mine, word: '${env:S}'",
        "type: filed",
    ],
)
def test_what_came_from_elsewhere_is_not_shown(folder: Folder, service: str) -> None:
    """Values of the environment, by reference or by a bare name, and those of files."""
    (folder.path / "s.env").write_text(f"OTHER={SECRET}\n")
    text = (
        f"{HERE}templates:\n  mine: {{options: {{word: text}}, "
        'process: {command: [sh, "${word}"]}}\n'
        "  filed: {container: {image: i, port: 1, env_file: s.env}}\n"
        f"services: {{a: {{{service}}}}}"
    )
    made = resolved(folder, text, {"S": SECRET})
    for shown in (made, show.as_written(folder.file)):
        assert SECRET not in json.dumps(shown)


def test_references_are_named(folder: Folder) -> None:
    """What came from the environment is shown by where it came from, within texts too."""
    shown = resolved(
        folder,
        HERE + "services: {a: {process: {command: [sh, 'x=${env:S:-no}/y'], port: 99}}}",
        {"S": SECRET},
    )
    assert shown["services"]["a"]["process"]["command"] == ["/usr/bin/sh", "x=${env:S:-no}/y"]


def test_what_a_folder_brings_has_no_secret_either(folder: Folder) -> None:
    """It stands in the file under another name than its services have."""
    (folder.path / "env").write_text(f"PLAIN={SECRET}\n")
    (folder.path / "models").mkdir()
    write(folder.path / "models" / "one.gguf", dense(2) | words(), dense_tensors(2))
    text = (
        "services: {m: {type: llamacpp, models_dir: models, gpu_layers: 0,"
        " args: ['--alias', '${env:NAME}'], container: {env_file: env}}}"
    )
    one = resolved(folder, HERE + text, {"NAME": SECRET})["services"]["one"]
    assert "${env:NAME}" in one["container"]["command"]
    assert SECRET not in json.dumps(one)


def test_as_written_follows_anchors(folder: Folder) -> None:
    """Merge keys are followed, keys of one's own left out, references kept, numbers as written."""
    text = """
        x-small: &small {idle_s: 10m, queue_max: 32}
        server: {ram: 8GiB}
        services:
          a: {<<: *small, container: {image: "${env:I:-x}", port: 80, user: 0100}}
        """
    folder.load(text)
    assert show.as_written(folder.file) == {
        "server": {"ram": "8GiB"},
        "services": {
            "a": {
                "idle_s": "10m",
                "queue_max": 32,
                "container": {"image": "${env:I:-x}", "port": 80, "user": "0100"},
            }
        },
    }


def test_all_of_it_is_yaml_and_json(folder: Folder) -> None:
    """Whatever the program holds can be written."""
    text = f"""
        {HERE.strip()}
        services:
          a:
            container: {{image: i, port: 1, ulimits: {{nofile: 9}}, healthcheck: {{retries: 3}}}}
            ready: {{path: /x}}
            live: {{path: /y}}
            sleep: {{path: /s, body: {{a: 1}}}}
            wake: {{path: /w}}
            memory: {{vram: 2GiB}}
            asleep: {{vram: 1GiB}}
        """
    shown = resolved(folder, text)
    assert json.loads(json.dumps(shown))["services"]["a"]["asleep"] == [{"gpu0": 1 << 30}]
    assert yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(shown)))) == shown
