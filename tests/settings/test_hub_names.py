"""What `model` may say: a name at the hub, or something that is there."""

import pytest

from .writing import Folder


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("model: ./missing", "no such file or folder: {here}/missing"),
        ("model: bad name", "expected a name at the model hub (Qwen/Qwen3-8B) or a path"),
        ("model: here", "'here' is read as a name at the model hub; write ./here for what is here"),
        ("modle: x/y", "unknown key; did you mean 'model'?"),
        ("model: x/y, gpu_memory_utilization: 90", "expected a number above 0 and up to 1, not 90"),
        (
            "model: x/y, variant: coda",
            "expected cuda or rocm or cpu, not 'coda'; did you mean 'cuda'?",
        ),
        ("model: x/y, variant: cpu, tensor_parallel_size: 2", "has no GPUs"),
        ("model: x/y, variant: cpu, cpu_offload: 1GiB", "means nothing"),
        ("model: x/y, variant: cpu, sleep_mode: true", "cannot sleep"),
        (
            "model: x/y, sleep_mode: true",
            "services.a.asleep: is missing: what does it hold asleep?",
        ),
        ("model: x/y, models: [{name: z}]", "loads and unloads no models"),
    ],
)
def test_what_is_wrong_is_told(folder: Folder, written: str, said: str) -> None:
    """Before anything starts, with its place and what would do."""
    (folder.path / "here").mkdir()
    text = f"services: {{a: {{type: vllm, runtime: docker, {written}}}}}"
    assert any(said.replace("{here}", str(folder.path)) in one for one in folder.problems(text)), (
        folder.problems(text)
    )


def test_no_models(folder: Folder) -> None:
    """A list needs one at least."""
    text = "services: {a: {type: infinity, runtime: docker, model: []}}"
    assert folder.problems(text) == ["1:56: services.a.model: names no model"]


def test_a_folder_is_asked_for(folder: Folder) -> None:
    """A file is no folder, and nothing is none."""
    folder.model("x.gguf")
    for name, said in (("x.gguf", "is a file, not a folder"), ("y", "no such folder: ")):
        text = f"services: {{a: {{type: tabby, runtime: docker, model: ./{name}}}}}"
        (problem,) = folder.problems(text)
        assert said in problem
