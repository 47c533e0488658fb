"""llama.cpp's llama-server with one GGUF model (docs/reference/templates/llamacpp.md)."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import attrs

from proxyserver.about import About
from proxyserver.gguf import (
    Estimate,
    GgufError,
    Model,
    NotModelled,
    Setting,
    estimate,
    parts_of,
    read_model,
)
from proxyserver.runtime._protocol import (
    ContainerSpec,
    FailurePattern,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
)
from proxyserver.shapes import CacheType, Command, Count, ExistingFile, Natural, Size, Word

from ._gguf_files import examine, faults
from ._llama_remedy import SMALLER, remedy
from ._parts import DEVICES
from ._protocol import Draft, Need, Room

IMAGE = "ghcr.io/ggml-org/llama.cpp"
PORT = 8080
LOAD_RATE = 1 << 30
"""Bytes a second that a model is read with: between a SATA and a slow NVMe disk."""
LOAD_LEAST_S = 1.0
DRIVER = 600 << 20
"""What a GPU's driver takes beside llama.cpp's own buffers: 589 MiB on an H200, by CUDA 13."""

ADMIN = ("POST /props", "POST /lora-adapters", "POST /slots/*")
"""What holds for all who use it: its own settings, the scales of adapters, saved prompts."""

_IMAGE_TAGS = {"cuda": "server-cuda", "cpu": "server", "rocm": "server-rocm"}
_IMAGE_TAGS |= {"vulkan": "server-vulkan"}

# What the estimate of memory depends on, where it would be said behind its back.
_MEMORY_FLAGS = frozenset(
    "-m --model -c --ctx-size -np --parallel -ngl --gpu-layers --n-gpu-layers -ctk --cache-type-k"
    " -ctv --cache-type-v -fa --flash-attn -b --batch-size -ub --ubatch-size -nkvo"
    " --no-kv-offload -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe --swa-full -kvu"
    " --kv-unified".split()
)
_SWITCH = {True: "on", False: "off", "auto": "auto", None: None}

FAILURES = (
    FailurePattern(
        "gpu_oom",
        r"cudaMalloc failed: out of memory|CUDA error: out of memory|hipMalloc failed"
        r"|ErrorOutOfDeviceMemory|VK_ERROR_OUT_OF_DEVICE_MEMORY",
        heals=True,
        out_of_memory=True,
        advice="The GPU was full.",
    ),
    FailurePattern(
        "alloc",
        r"failed to allocate (\S+ )?buffer of size \d+|unable to allocate \S+ buffer"
        r"|ggml_aligned_malloc: insufficient memory"
        r"|failed to allocate buffer for kv cache|failed to allocate compute (pp|tg) buffers",
        heals=True,
        out_of_memory=True,
        advice="There was not so much memory.",
    ),
    FailurePattern(
        "model_missing",
        r"failed to open GGUF file '.*' \(No such file",
        heals=False,
        advice="Check the path in `model`, `mmproj` or `draft_model`.",
    ),
    FailurePattern(
        "model_corrupt",
        r"only supports up to version",
        heals=False,
        advice="The file is too new for this llama.cpp: take a newer image or binary.",
    ),
    FailurePattern(
        "model_corrupt",
        r"invalid magic characters|failed to read (magic|header|key-value pairs|tensor info)"
        r"|model is corrupted or incomplete",
        heals=False,
        advice="The file is no GGUF, or damaged: fetch it again.",
    ),
    FailurePattern(
        "unsupported",
        r"unknown model architecture: '",
        heals=False,
        advice="This llama.cpp does not know the model: take a newer image or binary.",
    ),
    FailurePattern(
        "bad_flag",
        r"error: invalid argument:|error while handling argument|error: unrecognized arguments:"
        r"|error: argument \S+: ",
        heals=False,
        advice="This llama.cpp does not know one of its arguments: check `args`, or take a newer "
        "image or binary.",
    ),
)
"""Only those where llama.cpp's own options are the remedy; the rest is said for all servers.

What would help where memory lacks is computed: `Draft.remedy`."""


@attrs.frozen
class LlamaCppOptions:
    """What a service of the type `llamacpp` may say."""

    model: ExistingFile
    """A GGUF; of a split one, the first part."""
    ctx: Natural | None = None
    """Tokens of context in total over all slots; 0: as the model was trained."""
    parallel: Count | None = None
    gpu_layers: Natural | Literal["auto", "all"] | None = None
    flash_attention: bool | Literal["auto"] | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    cache_ram: Size | None = None
    """Host memory for prompts that may come again; llama.cpp takes up to 8 GiB by itself."""
    threads: Count | None = None
    mmproj: ExistingFile | None = None
    draft_model: ExistingFile | None = None
    draft_max: Count | None = None
    embedding: bool = False
    rerank: bool = False
    pooling: Literal["none", "mean", "cls", "last", "rank"] | None = None
    chat_template: str | None = None
    chat_template_file: ExistingFile | None = None
    reasoning_format: Literal["none", "deepseek", "deepseek-legacy", "auto"] | None = None
    api_key: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "cpu", "rocm", "vulkan"] | None = None
    """None: `cpu` when `gpu_layers` is 0, else `cuda`."""
    binary: str = "llama-server"


class LlamaCpp:
    """Runs llama-server as a container of the project's own images, or as a process."""

    name = "llamacpp"
    options = LlamaCppOptions

    def draft(self, options: LlamaCppOptions) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: the options contradict each other, or a part of the model is missing.
        """
        _check(options)
        parts = list(parts_of(Path(options.model)))
        environment = (("LLAMA_API_KEY", options.api_key),) if options.api_key is not None else ()
        memory = _memory(options)
        files = {name: getattr(options, name) for name in ("model", "mmproj", "draft_model")}
        return Draft(
            container=_container(options, parts, environment),
            process=ProcessSpec(
                command=(options.binary, *_arguments(options, "127.0.0.1", "${PORT}", {})),
                environment=environment,
            ),
            ready=Probe("/health", 200),
            ready_line=r"model loaded|listening on http",
            live=LiveProbe("/health", 200),
            metrics="/metrics",
            failures=FAILURES,
            admin=ADMIN,
            load_s=LOAD_LEAST_S + sum(part.stat().st_size for part in parts) / LOAD_RATE,
            need=memory.with_gpu,
            need_without_gpu=memory.without_gpu,
            about=memory.about,
            doubts=memory.doubts,
            warnings=tuple(faults(files)),
            examine=partial(examine, files),
            remedy=memory.remedy,
        )


def _check(options: LlamaCppOptions) -> None:
    if options.embedding and options.rerank:
        raise ValueError("a server either embeds or reranks: set one of `embedding`, `rerank`")
    if options.chat_template is not None and options.chat_template_file is not None:
        raise ValueError("give one of `chat_template` and `chat_template_file`")
    if options.draft_max is not None and options.draft_model is None:
        raise ValueError("`draft_max` needs a `draft_model`")
    if options.variant == "cpu" and options.gpu_layers not in (None, 0, "auto"):
        raise ValueError("the variant `cpu` cannot take `gpu_layers`; set them to 0")


@attrs.frozen
class _Memory:
    """What a service takes, what that leaves out, and what would make it take less."""

    doubts: tuple[str, ...]
    about: About | None = None
    with_gpu: Need | None = None
    without_gpu: Need | None = None
    remedy: Callable[[Room], str] = lambda room: SMALLER


def _memory(options: LlamaCppOptions) -> _Memory:
    hidden = next((word for word in options.args if word.split("=")[0] in _MEMORY_FLAGS), None)
    if hidden is not None:
        return _Memory((f"its memory is not estimated, since `args` has {hidden}",))
    about = None
    try:
        model = read_model(Path(options.model))
        about = _about(model, options)
        with_gpu = estimate(model, _setting(options, _gpu_layers(options)))
        without_gpu = estimate(model, _setting(options, 0))
    except NotModelled as error:
        return _Memory((str(error),), about)
    except (GgufError, OSError) as error:
        return _Memory((f"its memory cannot be estimated: {error}",))
    doubts = [*with_gpu.at_most, *with_gpu.approximate]
    beside = [name for name in ("mmproj", "draft_model") if getattr(options, name) is not None]
    if beside:
        doubts.append(f"of {' and '.join(beside)} the weights alone are counted")
    if options.cache_ram is None:
        doubts.append("up to 8 GiB of main memory for prompts is not counted: set `cache_ram`")

    def smaller(room: Room) -> str:
        setting = _setting(options, _gpu_layers(options) if room.vram else 0)
        need_of = partial(_need, options)
        return remedy(model, setting, need_of, room, cache_ram=options.cache_ram or 0)

    return _Memory(
        tuple(doubts), about, _need(options, with_gpu), _need(options, without_gpu), smaller
    )


def _about(model: Model, options: LlamaCppOptions) -> About:
    total = options.ctx or model.context_length
    return About(
        architecture=model.architecture,
        parameters=model.parameters,
        quantisation=model.quantisation,
        size=model.size,
        trained_context=model.context_length,
        context=total // (options.parallel or 1),
    )


def _gpu_layers(options: LlamaCppOptions) -> int | None:
    if options.variant == "cpu":
        return 0
    # Left to itself, llama.cpp puts on the GPU what fits.
    return options.gpu_layers if isinstance(options.gpu_layers, int) else None


def _setting(options: LlamaCppOptions, gpu_layers: int | None) -> Setting:
    return Setting(
        ctx=options.ctx,
        parallel=options.parallel,
        cache_type_k=options.cache_type_k or "f16",
        cache_type_v=options.cache_type_v or "f16",
        gpu_layers=gpu_layers,
        flash_attention=options.flash_attention is not False,
    )


def _need(options: LlamaCppOptions, found: Estimate) -> Need:
    paths = filter(None, (options.mmproj, options.draft_model))
    beside = sum(Path(path).stat().st_size for path in paths)
    vram, ram = found.vram.total, found.ram.total + (options.cache_ram or 0)
    main = found.vram if vram else found.ram
    # A context that nobody set may be made smaller until it fits.
    is_cache_certain = options.ctx and not found.at_most
    return Need(
        vram=vram + beside + DRIVER if vram else 0,
        ram=ram if vram else ram + beside,
        certain=main.weights + (main.cache if is_cache_certain else 0),
    )


def _container(
    options: LlamaCppOptions, parts: list[Path], environment: tuple[tuple[str, str], ...]
) -> ContainerSpec:
    variant = options.variant or ("cpu" if options.gpu_layers == 0 else "cuda")
    uses_gpu = variant != "cpu" and options.gpu_layers != 0
    # File by file: a folder would show the container more than it needs, and links (the hub's
    # cache is made of them) would point out of it.
    files = {str(part): f"/models/{part.name}" for part in parts}
    for folder, path in (
        ("draft", options.draft_model),
        ("mmproj", options.mmproj),
        ("template", options.chat_template_file),
    ):
        if path is not None:
            files.setdefault(path, f"/models/{folder}/{Path(path).name}")
    return ContainerSpec(
        image=f"{IMAGE}:{_IMAGE_TAGS[variant]}",
        port=PORT,
        command=tuple(_arguments(options, "0.0.0.0", str(PORT), files)),
        environment=environment,
        mounts=tuple(
            Mount(str(Path(source).resolve()), target, read_only=True)
            for source, target in files.items()
        ),
        gpus=variant == "cuda" and uses_gpu,
        devices=DEVICES.get(variant, ()) if uses_gpu else (),
        # The image's own one asks port 8080 with curl all the time; our probes do that better.
        healthcheck=False,
    )


def _arguments(
    options: LlamaCppOptions, host: str, port: str, files: dict[str, str]
) -> Iterator[str]:
    """Yield llama-server's arguments; `files` says what the files are called where it runs."""

    def file(path: str | None) -> str | None:
        return files.get(path, path) if path is not None else None

    yield from ("--model", files.get(options.model, options.model))
    # Never its defaults, which it has announced to change.
    yield from ("--host", host, "--port", port)
    # A stop waits for streams, and looks at them only when it pings them (default: 30 s).
    yield from ("--sse-ping-interval", "1")
    # At 4 it tells what it is doing while it loads, which keeps a slow start alive, and the sizes
    # of its buffers.
    yield from ("--metrics", "-lv", "4")
    cache_ram = None if options.cache_ram is None else options.cache_ram >> 20
    valued: tuple[tuple[str, object], ...] = (
        ("--ctx-size", options.ctx),
        ("--parallel", options.parallel),
        ("--gpu-layers", options.gpu_layers),
        ("--flash-attn", _SWITCH.get(options.flash_attention)),
        ("--cache-type-k", options.cache_type_k),
        ("--cache-type-v", options.cache_type_v),
        ("--cache-ram", cache_ram),
        ("--threads", options.threads),
        ("--mmproj", file(options.mmproj)),
        ("--model-draft", file(options.draft_model)),
        ("--spec-draft-n-max", options.draft_max),
        ("--pooling", options.pooling),
        ("--chat-template", options.chat_template),
        ("--chat-template-file", file(options.chat_template_file)),
        ("--reasoning-format", options.reasoning_format),
    )
    for flag, value in valued:
        if value is not None:
            yield from (flag, str(value))
    if options.ctx is not None and options.gpu_layers not in (None, "auto"):
        # Sizes that somebody chose are meant: without this it shrinks what is left open until
        # the model fits in what happens to be free, and the claim means nothing.
        yield from ("--fit", "off")
    if options.embedding:
        yield "--embedding"
    if options.rerank:
        yield "--rerank"
    yield from options.args
