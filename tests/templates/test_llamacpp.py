"""What the template makes of its options."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from proxyserver.gguf import Setting, estimate, read_model
from proxyserver.runtime._protocol import ContainerSpec, LiveProbe, Mount, Probe, ProcessSpec
from proxyserver.templates import Draft, Need
from proxyserver.templates.llamacpp import FAILURES, LlamaCpp, LlamaCppOptions
from tests.gguf.writing import dense, dense_tensors, words, write

MakeFile: TypeAlias = Callable[..., str]


@pytest.fixture
def file(tmp_path: Path) -> MakeFile:
    def make(name: str, size: int = 0) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as opened:
            opened.truncate(size)
        return str(path)

    return make


def draft(model: str, **options: Any) -> Draft:
    return LlamaCpp().draft(LlamaCppOptions(model, **options))


def container(model: str, **options: Any) -> ContainerSpec:
    found = draft(model, **options).container
    assert found is not None
    return found


def arguments(model: str, **options: Any) -> list[str]:
    """Return what options add to the arguments of a process."""
    found = draft(model, **options).process
    assert found is not None
    return list(found.command[len(PLAIN) + 1 :])


PLAIN = "--model M --host H --port P --sse-ping-interval 1 --metrics -lv 4".split()


def test_least_options(file: MakeFile) -> None:
    """A model alone is enough for a container and for a process."""
    model = file("x.gguf", 1 << 30)
    found = draft(model)
    assert found.container == ContainerSpec(
        image="ghcr.io/ggml-org/llama.cpp:server-cuda",
        port=8080,
        command=(
            *("--model", "/models/x.gguf", "--host", "0.0.0.0", "--port", "8080"),
            *("--sse-ping-interval", "1", "--metrics", "-lv", "4"),
        ),
        mounts=(Mount(model, "/models/x.gguf", read_only=True),),
        gpus=True,
        healthcheck=False,
    )
    assert found.process == ProcessSpec(
        command=(
            *("llama-server", "--model", model, "--host", "127.0.0.1", "--port", "${PORT}"),
            *("--sse-ping-interval", "1", "--metrics", "-lv", "4"),
        )
    )
    assert (found.ready, found.live) == (Probe("/health", 200), LiveProbe("/health", 200))
    assert found.load_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ctx": 0, "parallel": 2, "threads": 3}, "--ctx-size 0 --parallel 2 --threads 3"),
        ({"gpu_layers": "auto", "ctx": 1}, "--ctx-size 1 --gpu-layers auto"),
        ({"gpu_layers": 9, "ctx": 1}, "--ctx-size 1 --gpu-layers 9 --fit off"),
        ({"gpu_layers": "all"}, "--gpu-layers all"),
        ({"flash_attention": True}, "--flash-attn on"),
        ({"flash_attention": False}, "--flash-attn off"),
        ({"flash_attention": "auto"}, "--flash-attn auto"),
        ({"cache_type_k": "q8_0", "cache_type_v": "f16"}, "--cache-type-k q8_0 --cache-type-v f16"),
        ({"cache_ram": 3 << 29}, "--cache-ram 1536"),
        ({"embedding": True, "pooling": "mean"}, "--pooling mean --embedding"),
        ({"rerank": True}, "--rerank"),
        ({"chat_template": "chatml"}, "--chat-template chatml"),
        ({"reasoning_format": "none"}, "--reasoning-format none"),
        ({"args": ("-t", "1")}, "-t 1"),
    ],
)
def test_options_become_arguments(file: MakeFile, options: dict[str, Any], words: str) -> None:
    """Each option becomes the argument that llama-server has for it, and nothing else."""
    assert arguments(file("x.gguf"), **options) == words.split()


def test_further_files_are_mounted_apart(file: MakeFile) -> None:
    """Files of one name in different roles do not hide each other."""
    model, mmproj, small, template = (
        file(name) for name in ("x.gguf", "mm/x.gguf", "d/x.gguf", "t.jinja")
    )
    options = {"mmproj": mmproj, "draft_model": small, "chat_template_file": template}
    found = container(model, **options, draft_max=8)
    assert {mount.source: mount.target for mount in found.mounts} == {
        model: "/models/x.gguf",
        small: "/models/draft/x.gguf",
        mmproj: "/models/mmproj/x.gguf",
        template: "/models/template/t.jinja",
    }
    assert all(mount.read_only for mount in found.mounts)
    assert found.command is not None
    assert (
        list(found.command[len(PLAIN) :])
        == (
            "--mmproj /models/mmproj/x.gguf --model-draft /models/draft/x.gguf --spec-draft-n-max 8"
            " --chat-template-file /models/template/t.jinja"
        ).split()
    )


def test_links_are_followed(file: MakeFile, tmp_path: Path) -> None:
    """The hub's cache is made of links, which lead nowhere inside a container."""
    blob = file("blobs/abc")
    (tmp_path / "x.gguf").symlink_to(blob)
    assert container(str(tmp_path / "x.gguf")).mounts == (
        Mount(blob, "/models/x.gguf", read_only=True),
    )


def test_split_models(file: MakeFile) -> None:
    """All parts are mounted and weighed."""
    parts = [file(f"x-0000{part}-of-00003.gguf", 1 << 30) for part in (1, 2, 3)]
    found = draft(parts[0])
    assert found.container is not None
    assert [mount.source for mount in found.container.mounts] == parts
    assert found.load_s == pytest.approx(4.0)


def test_api_key_is_in_no_list_of_processes(file: MakeFile) -> None:
    """It goes by the environment."""
    found = draft(file("x.gguf"), api_key="secret")
    for what in (found.container, found.process):
        assert what is not None
        assert what.environment == (("LLAMA_API_KEY", "secret"),)
        assert what.command is not None
        assert "secret" not in what.command


@pytest.mark.parametrize(
    ("options", "tag", "gpus", "devices"),
    [
        ({}, "server-cuda", True, ()),
        ({"gpu_layers": 0}, "server", False, ()),
        ({"variant": "cuda", "gpu_layers": 0}, "server-cuda", False, ()),
        ({"variant": "cpu"}, "server", False, ()),
        ({"variant": "rocm"}, "server-rocm", False, ("/dev/kfd", "/dev/dri")),
        ({"variant": "vulkan"}, "server-vulkan", False, ("/dev/dri",)),
        ({"variant": "vulkan", "gpu_layers": 0}, "server-vulkan", False, ()),
    ],
)
def test_variants(
    file: MakeFile, options: dict[str, Any], tag: str, gpus: bool, devices: tuple[str, ...]
) -> None:
    """The image fits the GPU, and a GPU is asked for only where layers go to it."""
    found = container(file("x.gguf"), **options)
    assert (found.image.split(":")[1], found.gpus, found.devices) == (tag, gpus, devices)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"embedding": True, "rerank": True}, "either embeds or reranks"),
        ({"chat_template": "x", "chat_template_file": "y"}, "give one of"),
        ({"draft_max": 3}, "needs a `draft_model`"),
        ({"variant": "cpu", "gpu_layers": "all"}, "cannot take `gpu_layers`"),
    ],
)
def test_contradictions(file: MakeFile, options: dict[str, Any], said: str) -> None:
    """Options that cannot both be meant are refused."""
    with pytest.raises(ValueError, match=said):
        draft(file("x.gguf"), **options)


@pytest.mark.parametrize(
    ("name", "said"),
    [("x-00002-of-00002.gguf", "name the first part"), ("x-00001-of-00002.gguf", "part 2 of 2")],
)
def test_incomplete_split_models(file: MakeFile, name: str, said: str) -> None:
    """A part that is missing is told before anything starts."""
    with pytest.raises(ValueError, match=said):
        draft(file(name))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 5120.00 MiB on device 0: "
         "cudaMalloc failed: out of memory"), "gpu_oom"),
        ("CUDA error: out of memory", "gpu_oom"),
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", "gpu_oom"),
        ("alloc_tensor_range: failed to allocate CUDA0 buffer of size 5368709120", "alloc"),
        ("llama_init_from_model: failed to allocate buffer for kv cache", "alloc"),
        ("graph_reserve: failed to allocate compute pp buffers", "alloc"),
        ("gguf_init_from_file: failed to open GGUF file '/m/x.gguf' (No such file or directory)",
         "model_missing"),
        ("gguf_init_from_file_impl: invalid magic characters: 'GIF8', expected 'GGUF'",
         "model_corrupt"),
        (("llama_model_load: error: tensor 'x' data is not within the file bounds, model is "
         "corrupted or incomplete"), "model_corrupt"),
        ("error loading model architecture: unknown model architecture: 'novel'", "unsupported"),
        ("error: invalid argument: --contxt", "bad_flag"),
        ("srv  llama_server: model loaded", None),
        ("llama_context: pipeline parallelism failed, retrying without pipeline parallelism", None),
    ],
)  # fmt: skip
def test_failures_are_known_by_their_lines(line: str, kind: str | None) -> None:
    """Lines of the real server are told apart; those of a healthy one match nothing."""
    kinds = [failure.kind for failure in FAILURES if re.search(failure.pattern, line)]
    assert kinds[:1] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("line", "hurry"),
    [
        ("0.00.180.1 I srv  llama_server: model loaded", True),
        ("main: server is listening on http://127.0.0.1:8080 - starting the main loop", True),
        ("0.00.006.359 I srv    load_model: loading model 'x.gguf'", False),
    ],
)
def test_ready_line_is_that_of_the_server(file: MakeFile, line: str, hurry: bool) -> None:
    """The proxy asks at once when the server says that it can answer, and not while it loads."""
    pattern = draft(file("x.gguf")).ready_line
    assert pattern is not None
    assert bool(re.search(pattern, line)) is hurry


@pytest.fixture
def real(tmp_path: Path) -> str:
    """A model that can be read."""
    return str(write(tmp_path / "real.gguf", dense(6) | words(), dense_tensors(6)))


def test_needs_are_those_of_the_estimate(real: str) -> None:
    """The options are what the estimate is made for, with a GPU and without."""
    options = {"ctx": 4096, "parallel": 2, "cache_type_k": "q8_0", "cache_type_v": "q4_0"}
    found = draft(real, **options, gpu_layers=3, cache_ram=1 << 30)
    model = read_model(Path(real))
    some, none = (estimate(model, Setting(4096, 2, "q8_0", "q4_0", layers)) for layers in (3, 0))
    assert found.need == Need(
        vram=some.vram.total + (600 << 20),
        ram=some.ram.total + (1 << 30),
        certain=some.vram.weights + some.vram.cache,
    )
    assert found.need_without_gpu == Need(
        0, none.ram.total + (1 << 30), none.ram.weights + none.ram.cache
    )
    assert found.doubts == ()


@pytest.mark.parametrize("options", [{"gpu_layers": 0}, {"variant": "cpu"}])
def test_need_of_a_processor(real: str, options: dict[str, Any]) -> None:
    """Where no layer goes to a GPU, none of its memory is needed."""
    found = draft(real, **options)
    assert found.need == found.need_without_gpu
    assert found.need is not None
    assert found.need.vram == 0


def test_weights_beside_the_model_are_needed_too(real: str, file: MakeFile) -> None:
    """A projector and a draft model lie where the model lies, and it is said what is left out."""
    alone = draft(real, ctx=256).need
    found = draft(real, ctx=256, mmproj=file("p.gguf", 1000), draft_model=file("d.gguf", 500))
    assert found.need is not None
    assert alone is not None
    assert (found.need.vram - alone.vram, found.need.ram - alone.ram) == (1500, 0)
    assert found.doubts[0] == "of mmproj and draft_model the weights alone are counted"


def test_doubts(tmp_path: Path) -> None:
    """What the estimate leaves out is said, and a cache that may be smaller is not certain."""
    metadata = dense(6, attention__sliding_window=64) | words()
    found = draft(str(write(tmp_path / "w.gguf", metadata, dense_tensors(6))), ctx=4096)
    assert found.doubts == (
        "layers with a sliding window are counted with the whole context",
        "up to 8 GiB of main memory for prompts is not counted: set `cache_ram`",
    )
    assert found.need is not None
    model = read_model(tmp_path / "w.gguf")
    assert found.need.certain == estimate(model, Setting(4096)).vram.weights


@pytest.mark.parametrize(
    ("more", "args", "said"),
    [
        ({"ssm__state_size": 16}, (), "is not modelled: it has recurrent layers"),
        ({}, ("--no-mmap", "--ctx-size=9"), "`args` has --ctx-size=9"),
    ],
)
def test_needs_that_are_not_known(
    tmp_path: Path, more: dict[str, int], args: tuple[str, ...], said: str
) -> None:
    """No guess where the estimate does not hold."""
    model = write(tmp_path / "x.gguf", dense(6, **more) | words(), dense_tensors(6))
    found = draft(str(model), args=args)
    assert (found.need, found.need_without_gpu) == (None, None)
    assert said in found.doubts[0]


def test_need_of_what_is_no_model(file: MakeFile) -> None:
    """A file that cannot be read is the server's to refuse; it is said why nothing is claimed."""
    model = file("x.gguf", 64)
    found = draft(model)
    assert found.need is None
    assert found.doubts == (
        f"its memory cannot be estimated: {model}: is no GGUF: it starts with {bytes(4)!r}",
    )
