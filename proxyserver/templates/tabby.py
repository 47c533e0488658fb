"""tabbyAPI: one EXL3 model of a local folder (docs/reference/templates/tabby.md)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs

from proxyserver.runtime._protocol import (
    FailurePattern,
    LiveProbe,
    Mount,
    Probe,
    ProcessSpec,
    Ulimit,
)
from proxyserver.shapes import Command, Count, ExistingFolder, Word

from ._parts import container, flags, torch_is_full
from ._protocol import Draft, Need
from ._tabby_models import TabbyModels
from ._weights import NotKnown, cache_values, weights, weights_of

IMAGE = "ghcr.io/theroyallab/tabbyapi"
PORT = 5000
SHM = 8 << 30
LIMITS = (Ulimit("memlock", -1, -1), Ulimit("nofile", 1 << 20, 1 << 20))
"""As the project's own compose file has them."""
LOAD_RATE = 1 << 30
LOAD_LEAST_S = 10.0
MAX_SEQ_LEN = 4096
"""What tabbyAPI takes when nobody says anything."""
DRIVER = 1 << 30
"""An allowance, not measured, for PyTorch, the driver and what a prompt takes while it is read."""
RAM = 2 << 30
"""An allowance, not measured, for its own process."""

ADMIN = (
    *("/v1/model/load", "/v1/model/unload", "/v1/model/embedding/load"),
    *("/v1/model/embedding/unload", "/v1/lora/load", "/v1/lora/unload", "/v1/download"),
    *("/v1/template/switch", "/v1/template/unload"),
    *("/v1/sampling/override/switch", "/v1/sampling/override/unload"),
)
"""All that its source guards by the key of administration."""

NO_DOUBTS: tuple[str, ...] = ()

_TAGS = {"cuda": "latest", "cuda13": "cu13"}
_CACHE_MODE = re.compile(r"FP16|Q[468]|[2-8],[2-8]")
_BITS = {"FP16": (16, 16), "Q8": (8, 8), "Q6": (6, 6), "Q4": (4, 4)}
_PAGE = 256
_SCALE = 17 / 16
"""A quantized cache has a 16-bit scale for every 32 numbers of 8 bits; more for fewer bits."""

FAILURES = (
    torch_is_full(
        "Lower `cache_size` or `max_seq_len`, take a smaller `cache_mode`, or claim more memory so "
        "that others make room."
    ),
    FailurePattern(
        "gpu_oom",
        r"Insufficient VRAM (in split )?for model|Insufficient space on device",
        heals=True,
        out_of_memory=True,
        advice="The model does not fit: lower `cache_size`, take a smaller `cache_mode` or name "
        "more GPUs in `memory`.",
    ),
    FailurePattern(
        "model_missing",
        r"Could not find the model path|Failed to load config\.json from",
        heals=False,
        advice="`model` must be the folder of an EXL3 model, with its config.json.",
    ),
    FailurePattern(
        "unsupported",
        r"Unknown architecture|require the exllamav2 backend",
        heals=False,
        advice="This tabbyAPI does not know the model: it needs one in EXL3 format, or a newer "
        "image.",
    ),
    FailurePattern(
        "port_in_use",
        r"Ports \d+ and \d+ are in use|Port \d+ is currently in use\. Switching",
        heals=True,
        advice="Something else listens there; tabbyAPI took the next port, where nobody looks.",
    ),
    FailurePattern(
        "bad_install",
        r"Inference dependencies for TabbyAPI are not installed"
        r"|required dependencies are not installed",
        heals=False,
        advice="Install them in its folder: pip install .[cu12]",
    ),
)


@attrs.frozen
class TabbyOptions:
    """What a service of the type `tabby` may say."""

    model: ExistingFolder | None = None
    models_dir: ExistingFolder | None = None
    max_seq_len: Count | None = None
    cache_size: Count | None = None
    cache_mode: Word | None = None
    chunk_size: Count | None = None
    max_batch_size: Count | None = None
    gpu_split: tuple[float, ...] = ()
    """GB for each GPU."""
    tensor_parallel: bool = False
    vision: bool = False
    prompt_template: Word | None = None
    draft_model: ExistingFolder | None = None
    args: Command = ()
    variant: Literal["cuda", "cuda13"] = "cuda"
    binary: str = "python3"
    folder: ExistingFolder | None = None


class Tabby:
    """Runs tabbyAPI as a container of the project's own images, or from a checkout."""

    name = "tabby"
    options = TabbyOptions

    def draft(self, options: TabbyOptions) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: the options contradict each other.
        """
        _check(options)
        if options.model is None:
            # Told of no model, it is ready for those that it is asked for.
            ready, models = Probe("/health", 200), TabbyModels(_parameters(options))
            need, doubts = None, NO_DOUBTS
            load_s = LOAD_LEAST_S
        else:
            # /health says yes without a model, too.
            ready, models = Probe("/v1/model", 200), None
            need, doubts = _need(options, Path(options.model))
            load_s = LOAD_LEAST_S + (weights_of(options.model) or 0) / LOAD_RATE
        return Draft(
            container=container(
                f"{IMAGE}:{_TAGS[options.variant]}",
                PORT,
                # The image's entrypoint is the interpreter.
                _arguments(options, _inside(options), "0.0.0.0", str(PORT)),
                variant=options.variant,
                mounts=tuple(
                    Mount(str(Path(source).resolve()), target, read_only=True)
                    for source, target in _inside(options).items()
                ),
                shm_size=SHM,
                ulimits=LIMITS,
            ),
            process=ProcessSpec(
                (options.binary, *_arguments(options, {}, "127.0.0.1", "${PORT}")),
                working_dir=options.folder,
            ),
            ready=ready,
            ready_line=r"Uvicorn running on|Application startup complete",
            live=LiveProbe("/health", 200),
            failures=FAILURES,
            admin=ADMIN,
            load_s=load_s,
            need=need,
            models=models,
            doubts=doubts,
        )


def _check(options: TabbyOptions) -> None:
    if (options.model is None) == (options.models_dir is None):
        raise ValueError("give a `model`, or a `models_dir` for the `models` of the service")
    if options.models_dir is not None and options.draft_model is not None:
        raise ValueError("`draft_model` is for one `model`, not for all of a `models_dir`")
    if options.cache_mode is not None and not _CACHE_MODE.fullmatch(options.cache_mode):
        raise ValueError(
            f"`cache_mode` is FP16, Q8, Q6, Q4 or a pair of bits for keys and values from 2 to 8"
            f" (8,8), not {options.cache_mode!r}"
        )
    size = options.cache_size
    if size is not None and size % _PAGE:
        raise ValueError(
            f"`cache_size` must be a multiple of {_PAGE}, such as {-(-size // 256) * 256}"
        )
    if size is not None and options.max_seq_len is not None and size < options.max_seq_len:
        raise ValueError("`cache_size` cannot be less than `max_seq_len`")
    if options.gpu_split and min(options.gpu_split) < 0:
        raise ValueError("`gpu_split` has a negative size")


def _inside(options: TabbyOptions) -> dict[str, str]:
    """Return what folders are called in a container."""
    names = {}
    if options.models_dir is not None:
        names[options.models_dir] = "/app/models"
    if options.model is not None:
        names[options.model] = f"/app/models/{Path(options.model).resolve().name}"
    if options.draft_model is not None:
        draft = Path(options.draft_model).resolve().name
        names.setdefault(options.draft_model, f"/app/draft_models/{draft}")
    return names


def _arguments(options: TabbyOptions, names: dict[str, str], host: str, port: str) -> Iterator[str]:
    def place(path: str) -> tuple[str, str]:
        named = Path(names.get(path, path))
        return str(named.parent), named.name

    yield from ("main.py", "--host", host, "--port", port)
    # Its keys would have to be known to our probes; it listens for the proxy alone.
    yield from ("--disable-auth", "true")
    if options.models_dir is not None:
        yield from ("--model-dir", names.get(options.models_dir, options.models_dir))
    if options.model is not None:
        folder, name = place(options.model)
        yield from ("--model-dir", folder, "--model-name", name)
    yield from flags(
        ("--max-seq-len", options.max_seq_len),
        ("--cache-size", options.cache_size),
        ("--cache-mode", options.cache_mode),
        ("--chunk-size", options.chunk_size),
        ("--max-batch-size", options.max_batch_size),
        ("--prompt-template", options.prompt_template),
        # Each of its flags takes a value.
        ("--tensor-parallel", "true" if options.tensor_parallel else None),
        ("--vision", "true" if options.vision else None),
    )
    if options.gpu_split:
        yield from ("--gpu-split-auto", "false", "--gpu-split")
        yield from (f"{size:g}" for size in options.gpu_split)
    if options.draft_model is not None:
        folder, name = place(options.draft_model)
        yield from ("--draft-model-dir", folder, "--draft-model-name", name)
    yield from options.args


def _parameters(options: TabbyOptions) -> dict[str, Any]:
    """Return what every load of a model says; the same as the flags, which hold for one alone."""
    keys = "max_seq_len cache_size cache_mode chunk_size max_batch_size prompt_template".split()
    told: dict[str, Any] = {key: getattr(options, key) for key in keys}
    told |= {key: getattr(options, key) or None for key in ("tensor_parallel", "vision")}
    if options.gpu_split:
        told |= {"gpu_split_auto": False, "gpu_split": list(options.gpu_split)}
    return {key: value for key, value in told.items() if value is not None}


def _need(options: TabbyOptions, model: Path) -> tuple[Need | None, tuple[str, ...]]:
    """Estimate the memory: weights, cache and an allowance."""
    tokens = options.cache_size or options.max_seq_len or MAX_SEQ_LEN
    try:
        certain = weights(model)
        values = cache_values(model)
        if options.draft_model is not None:
            certain += weights(Path(options.draft_model))
            values += cache_values(Path(options.draft_model))
    except (NotKnown, OSError) as error:
        return None, (f"its memory is not estimated: {error}; declare `memory`",)
    keys, others = _bits(options.cache_mode or "FP16")
    cache = int(tokens * values * (keys + others) / 2 / 8 * (_SCALE if keys < 16 else 1))
    if len(options.gpu_split) > 1:
        return None, ("its memory is not estimated, since it is split; declare `memory`",)
    return Need(certain + cache + DRIVER, RAM, certain), ()


def _bits(mode: str) -> tuple[int, int]:
    if mode in _BITS:
        return _BITS[mode]
    keys, values = mode.split(",")
    return int(keys), int(values)
