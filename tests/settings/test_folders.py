"""`models_dir:` of a service: every model of a folder is a service of its own."""

from pathlib import Path

import pytest

from proxycore import RAM, ServiceId
from proxyserver.runtime import ProcessSpec
from tests.gguf.writing import dense, dense_tensors, write

from .writing import Folder

TEXT = """
    server: {runtime: process, devices: {}}
    services:
      local:
        type: llamacpp
        models_dir: models
        ctx: 2048
        gpu_layers: 0
        binary: sh
        priority: 2
"""


def model(folder: Folder, name: str) -> Path:
    path = folder.path / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, dense(1), dense_tensors(1))


def test_every_model_is_a_service_with_the_options_of_all(folder: Folder) -> None:
    """Its id is the name of the file in lower case; that itself is an alias."""
    first, second = model(folder, "Qwen 3-8B.gguf"), model(folder, "deep/small.gguf")
    settings = folder.load(TEXT)
    assert [(str(spec.id), spec.aliases, spec.priority) for spec in settings.core.services] == [
        ("qwen-3-8b", (), 2),
        ("small", (), 2),
    ]
    for name, path in (("qwen-3-8b", first), ("small", second)):
        service = settings.services[ServiceId(name)]
        assert isinstance(service.launch.what, ProcessSpec)
        assert service.launch.what.command is not None
        assert service.launch.what.command[1:3] == ("--model", str(path))
        assert "2048" in service.launch.what.command
        assert service.spec.placements[0].on(RAM) > 0
    assert settings.folders == (folder.path / "models",)


def test_the_name_of_the_file_is_an_alias(folder: Folder) -> None:
    """Unless somebody has it."""
    model(folder, "Big-Q4_K_M.gguf")
    model(folder, "Other.gguf")
    text = TEXT + "      mine: {process: {command: [sh], port: 9000}, aliases: [Other]}\n"
    specs = {str(spec.id): spec.aliases for spec in folder.load(text).core.services}
    assert specs == {"big-q4_k_m": ("Big-Q4_K_M",), "other": (), "mine": ("Other",)}


def test_who_is_there_by_name_wins(folder: Folder) -> None:
    """A model whose name is taken is left out, and told of."""
    path = model(folder, "mine.gguf")
    text = TEXT + "      mine: {process: {command: [sh], port: 9000}}\n"
    settings = folder.load(text)
    assert [str(spec.id) for spec in settings.core.services] == ["mine"]
    assert f"{path}: there is a service 'mine' already" in [one.message for one in settings.remarks]


def test_an_empty_folder_is_said_and_is_no_mistake(folder: Folder) -> None:
    """Something may come into it."""
    (folder.path / "models").mkdir()
    settings = folder.load(TEXT)
    assert settings.core.services == ()
    assert [one.message for one in settings.remarks] == [
        f"there is no model in {folder.path / 'models'} yet"
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("ctx: 2048", "ctx: x", "7:10: services.local.ctx: expected a whole number, not 'x'"),
        ("ctx: 2048", "model: x", "7:5: services.local.model: is for one model, and `models_dir`"),
        (
            "models_dir: models",
            "models_dir: [1]",
            "6:17: services.local.models_dir: expected a text",
        ),
    ],
)
def test_a_mistake_is_told_once_where_it_is(
    folder: Folder, old: str, new: str, problem: str
) -> None:
    """However many models there are."""
    model(folder, "a.gguf")
    model(folder, "b.gguf")
    [told] = folder.problems(TEXT.replace(old, new))
    assert told.startswith(problem)


def test_a_folder_that_is_not_there_is_a_mistake(folder: Folder) -> None:
    """It is told with the whole path."""
    [told] = folder.problems(TEXT)
    assert told == f"6:17: services.local.models_dir: no such folder: {folder.path / 'models'}"
