"""`config init` writes a configuration that is good here, and never over another."""

import json
from pathlib import Path

import pytest

from proxycore import DeviceId
from proxyserver._init_command import numbers_of
from proxyserver.first import Model, Survey, models_in, survey, usual_folders, written
from proxyserver.settings import Settings, load
from tests.gguf.writing import dense, dense_tensors, words, write
from tests.rig.engine import Engine
from tests.settings.schemas import complaint

from .daemon import aiproxy
from .terminal import at_terminal

GIB = 1 << 30
GPU0, GPU1 = DeviceId("gpu0"), DeviceId("gpu1")
PLAIN = Survey({}, "no driver", ram=16 * GIB)
GPUS = Survey({GPU0: 24 * GIB, GPU1: 8 * GIB}, ram=64 * GIB, engine=True)


def model(path: Path, layers: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, dense(layers) | words(), dense_tensors(layers))


def read(machine: Survey, models: tuple[Model, ...], folder: Path) -> Settings:
    """Write a configuration, and read it where it stands, with those GPUs."""
    file = folder / "aiproxy.yaml"
    file.write_text(written(machine, models, file, Path("/home/nobody")))
    assert complaint(file.read_text()) is None
    path = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": "/home/nobody"}
    return load(file, path, find_gpus=lambda: machine.gpus)


@pytest.mark.parametrize(
    "machine",
    [
        PLAIN,
        GPUS,
        Survey({GPU0: 24 * GIB}, is_amd=True, ram=16 * GIB, engine=True),
        Survey({}, "no driver", ram=16 * GIB, llama_server=True),
        Survey({GPU0: 24 * GIB}, is_amd=True, ram=16 * GIB, llama_server=True),
        Survey({}, ram=16 * GIB, engine=True, images=("ghcr.io/ggml-org/llama.cpp:server",)),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_whatever_is_found_makes_a_good_configuration(
    machine: Survey, count: int, tmp_path: Path
) -> None:
    """With and without GPUs, engine, program, models."""
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for number in range(count):
        model(tmp_path / f"models/{number}.gguf")
    found = models_in([tmp_path], machine)
    settings = read(machine, found.models, tmp_path)
    assert list(settings.services) == [str(number) for number in range(count)]


def test_images_become_services(tmp_path: Path) -> None:
    """Those that need no model; for the others there is a comment to go on from."""
    images = ("ollama/ollama:0.9", "vllm/vllm-openai:latest", "postgres:17", "me/kokoro:1")
    for machine in (GPUS, PLAIN):
        there = Survey(machine.gpus, ram=machine.ram, engine=True, images=images)
        settings = read(there, (), tmp_path)
        assert list(settings.services) == ["ollama"]
        text = (tmp_path / "aiproxy.yaml").read_text()
        assert "  #   type: vllm\n" in text
        assert "postgres" not in text
    whole = text.replace("  # ", "  ").replace("NAME/OF-THE-MODEL", "Qwen/Qwen3-8B")
    assert "  vllm:\n    type: vllm\n" in whole


def test_models_are_looked_for(tmp_path: Path) -> None:
    """Below folders, through links, once each; parts, projectors and broken ones are told apart."""
    model(tmp_path / "a/Qwen3-8B-Q4_K_M.gguf")
    model(tmp_path / "a/b/Qwen3-8B-Q8_0.gguf")
    model(tmp_path / "see/eyes.gguf")
    model(tmp_path / "see/mmproj-eyes-f16.gguf")
    model(tmp_path / "x/nomic-embed-v1.Q8_0.gguf")
    model(tmp_path / "x/Reranker x.gguf")
    (tmp_path / "a/broken.gguf").write_bytes(b"<html>")
    (tmp_path / "a/link.gguf").symlink_to("Qwen3-8B-Q4_K_M.gguf")
    found = models_in([tmp_path], PLAIN)
    assert [(one.path.name, one.id) for one in found.models] == [
        ("Qwen3-8B-Q4_K_M.gguf", "qwen3-8b"),
        ("eyes.gguf", "eyes"),
        ("Reranker x.gguf", "reranker-x"),
        ("nomic-embed-v1.Q8_0.gguf", "nomic-embed-v1"),
        ("Qwen3-8B-Q8_0.gguf", "qwen3-8b-2"),
    ]
    assert [said.split(": ")[0] for said in found.left_out] == [str(tmp_path / "a/broken.gguf")]
    by_id = {one.id: one for one in found.models}
    assert by_id["eyes"].projector == tmp_path / "see/mmproj-eyes-f16.gguf"
    assert (by_id["nomic-embed-v1"].embedding, by_id["reranker-x"].rerank) == (True, True)
    settings = read(PLAIN, found.models, tmp_path)
    assert len(settings.services) == 5


def test_the_context_is_what_fits(tmp_path: Path) -> None:
    """The most of the usual ones; a model that never fits is said not to."""
    path = model(tmp_path / "x.gguf", 32)
    needs = {
        gib: models_in([tmp_path], Survey({GPU0: gib * GIB // 4}, ram=GIB)).models[0]
        for gib in (1, 16, 96)
    }
    assert [(one.ctx, one.fits) for one in needs.values()] == [
        (4096, False),
        (16384, True),
        (32768, True),
    ]
    assert path.stat().st_size < 24 * GIB


def test_odd_names_are_written_well(tmp_path: Path) -> None:
    """Names that YAML or our references would take for something else."""
    names = ["1e3", "true", "a: b #c", "$${env:X}", "ü 'x'", '"q"', "-x", "1.5"]
    for name in names:
        model(tmp_path / f"odd/{name}.gguf")
    found = models_in([tmp_path], PLAIN)
    settings = read(PLAIN, found.models, tmp_path)
    assert len(settings.services) == len(names)


def test_usual_folders(tmp_path: Path) -> None:
    """Those of llama.cpp, the hub and LM Studio, as far as they are there."""
    for folder in ("models", ".cache/huggingface/hub", ".lmstudio/models"):
        (tmp_path / folder).mkdir(parents=True)
    found = [path for path in usual_folders({"HOME": str(tmp_path)}) if path.is_absolute()]
    assert found == [
        tmp_path / "models",
        tmp_path / ".cache/huggingface/hub",
        tmp_path / ".lmstudio/models",
    ]


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ("", [1, 2, 3]),
        ("all", [1, 2, 3]),
        ("none", []),
        ("2", [2]),
        ("3 1-2", [1, 2, 3]),
        ("0", None),
        ("2-9", None),
        ("3-2", None),
        ("yes", None),
    ],
)
def test_answers(answer: str, meant: list[int] | None) -> None:
    """Numbers, ranges, all or none; else it is asked again."""
    assert numbers_of(answer, 3) == meant


@pytest.mark.slow
def test_without_a_terminal(tmp_path: Path) -> None:
    """It asks nothing, writes what `config check` finds good, and says what to do next."""
    model(tmp_path / "models/x.gguf")
    file = tmp_path / "aiproxy.yaml"
    lost = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "HOME": str(tmp_path)}
    done = aiproxy("config", "init", str(file), "--models", str(tmp_path / "models"), **lost)
    assert (done.returncode, done.stderr) == (0, "")
    assert "models as services: 1 of 1" in done.stdout
    assert aiproxy("config", "check", str(file), **lost).returncode == 0
    schema = json.loads((tmp_path / "aiproxy.schema.json").read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    before = file.read_text()
    again = aiproxy("config", "init", str(file), "--yes", **lost)
    assert (again.returncode, again.stdout, file.read_text()) == (1, "", before)
    assert "is there already" in again.stderr


@pytest.mark.slow
def test_for_programs(tmp_path: Path) -> None:
    """What was written where; wrong folders are told apart from what failed."""
    home = {"HOME": str(tmp_path)}
    (tmp_path / "models").mkdir()
    (tmp_path / "models/x.gguf").write_bytes(b"x")
    done = aiproxy("config", "init", str(tmp_path / "c.yaml"), "--json", **home)
    told = json.loads(done.stdout)
    assert told["file"] == str(tmp_path / "c.yaml")
    assert len(told["left_out"]) == 1
    folder = aiproxy("config", "init", str(tmp_path / "d.yaml"), "--models", "/nowhere", **home)
    assert (folder.returncode, folder.stderr.count("no such folder")) == (2, 1)
    lost = aiproxy("config", "init", str(tmp_path / "no/d.yaml"), **home)
    assert (lost.returncode, "make it first" in lost.stderr) == (1, True)


@pytest.mark.slow
def test_at_a_terminal(tmp_path: Path) -> None:
    """It asks for a folder, then which models, and takes no nonsense."""
    model(tmp_path / "more/a.gguf")
    model(tmp_path / "more/b.gguf")
    with at_terminal("config", "init", folder=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.wait_for("a further folder with models (empty: none): ")
        terminal.type("nowhere\n")
        terminal.wait_for("there is no such folder")
        terminal.type("more\n")
        terminal.wait_for("[all]: ")
        terminal.type("3\n")
        terminal.wait_for("write numbers from 1 to 2")
        terminal.type("2\n")
        assert terminal.end() == 0
    assert list(load(tmp_path / "aiproxy.yaml", {"HOME": str(tmp_path)}).services) == ["b"]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "code"), [("\x03", 130), ("\x04", 1)])
def test_giving_up_writes_nothing(tmp_path: Path, key: str, code: int) -> None:
    """Ctrl-C and the end of the input."""
    with at_terminal("config", "init", folder=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.wait_for("(empty: none): ")
        if key == "\x04":
            terminal.type(key)
        assert terminal.end(interrupted=key == "\x03") == code
    assert list(tmp_path.glob("*.yaml")) == []


@pytest.mark.engine
def test_an_engine_is_asked_for_its_images(engine: Engine, mock_image: str) -> None:
    """By the address that the environment names."""
    found = survey({"DOCKER_HOST": engine.host, "HOME": "/"})
    assert found.engine
    assert any(image.split(":")[0] == mock_image.split(":")[0] for image in found.images)
