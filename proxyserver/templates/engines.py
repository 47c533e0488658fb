"""Further servers of language models and embeddings, as data (docs/reference/templates)."""

from collections.abc import Iterator
from typing import Literal

import attrs

from proxyserver.runtime._protocol import Call, FailurePattern, LiveProbe, Mount, Probe, Ulimit
from proxyserver.shapes import (
    Command,
    Count,
    ExistingFile,
    Model,
    Natural,
    Share,
    Word,
)

from ._ollama_models import OllamaModels
from ._parts import HUB_REFUSES, HUB_VOLUME, MODEL_MISSING, flags, same, torch_is_full
from ._protocol import Asleep, Need
from ._simple import Simple
from ._weights import weights_of

_HUB = Mount(HUB_VOLUME, "/root/.cache/huggingface")
_SHARED = {
    "ipc": "host",
    "ulimits": (Ulimit("memlock", -1, -1), Ulimit("stack", 64 << 20, 64 << 20)),
}
ROOM = 2 << 30
"""An allowance, not measured, for what a sleeper holds of a GPU."""
OWN_RAM = 4 << 30
"""An allowance, not measured, for the processes of a server."""


def _weights_in_ram(model: str, gpus: int) -> Asleep | None:
    """Return what a server holds asleep that keeps its weights in main memory."""
    kept = weights_of(model)
    return None if kept is None else Asleep(ROOM * gpus, kept + OWN_RAM)


BAD_FLAG = FailurePattern(
    "bad_flag",
    r"error: unrecognized arguments:|error: argument --\S+: |error: unexpected argument",
    heals=False,
    advice="The server does not know one of its arguments: check `args`, or take a newer image.",
)


@attrs.frozen
class TeiOptions:
    """What a service of the type `tei` may say."""

    model: Model
    revision: Word | None = None
    dtype: Literal["float16", "float32"] | None = None
    pooling: Literal["cls", "mean", "splade", "last-token"] | None = None
    max_concurrent_requests: Count | None = None
    max_batch_tokens: Count | None = None
    max_client_batch_size: Count | None = None
    auto_truncate: bool = False
    hf_token: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "cpu"] = "cuda"
    binary: str = "text-embeddings-router"


def _tei(options: TeiOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("--model-id", model, "--hostname", host, "--port", port)
    yield from same(
        options,
        "revision dtype pooling max_concurrent_requests max_batch_tokens"
        " max_client_batch_size auto_truncate",
    )


TEI = Simple(
    name="tei",
    options=TeiOptions,
    images={
        "cuda": "ghcr.io/huggingface/text-embeddings-inference:cuda-1.9",
        "cpu": "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9",
    },
    port=80,
    ready=Probe("/health"),
    live=LiveProbe("/health"),
    metrics="/metrics",
    ready_line=r"Ready$",
    arguments=_tei,
    # It keeps its own layout of files there.
    mounts=(Mount("tei", "/data"),),
    failures=(
        FailurePattern(
            "gpu_oom",
            r"CUDA_ERROR_OUT_OF_MEMORY|out of memory",
            heals=True,
            out_of_memory=True,
            advice="The GPU was full: lower `max_batch_tokens`, or claim more memory.",
        ),
        HUB_REFUSES,
        BAD_FLAG,
    ),
    load_s=15.0,
)


@attrs.frozen
class SglangOptions:
    """What a service of the type `sglang` may say."""

    model: Model
    context_length: Count | None = None
    mem_fraction_static: Share = 0.85
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] | None = None
    quantization: Word | None = None
    kv_cache_dtype: Word | None = None
    tp_size: Count = 1
    max_running_requests: Count | None = None
    trust_remote_code: bool = False
    tool_call_parser: Word | None = None
    reasoning_parser: Word | None = None
    is_embedding: bool = False
    sleep_mode: bool = False
    hf_token: Word | None = None
    args: Command = ()
    binary: str = "python3"


def _sglang(options: SglangOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("-m", "sglang.launch_server", "--model-path", model)
    yield from ("--host", host, "--port", port, "--served-model-name", "${SERVICE}")
    # Said even where it is the default, since the claim rests on it.
    yield from ("--mem-fraction-static", f"{options.mem_fraction_static:g}")
    yield from same(
        options,
        "context_length dtype quantization kv_cache_dtype tp_size max_running_requests"
        " trust_remote_code tool_call_parser reasoning_parser is_embedding",
    )
    yield from flags(
        ("--enable-memory-saver", options.sleep_mode),
        # Else what it gives back is lost, and it wakes with weights that are none.
        ("--enable-weights-cpu-backup", options.sleep_mode),
    )


SGLANG = Simple(
    name="sglang",
    options=SglangOptions,
    images={"cuda": "lmsysorg/sglang:latest"},
    port=30000,
    # /health makes it generate a token.
    ready=Probe("/ready"),
    live=LiveProbe("/ready"),
    ready_line=r"The server is fired up",
    admin=(
        *("/release_memory_occupation", "/resume_memory_occupation", "/pause_generation"),
        *("/continue_generation", "/abort_request", "/slow_down", "/flush_cache", "/freeze_gc"),
        *("/*hicache*", "/start_profile", "/stop_profile", "/*expert_distribution_record"),
        *("/update_weight*", "/*weights_update_group", "/get_weights_by_name"),
        *("/set_internal_state", "/configure_logging", "/*load_lora_adapter*"),
    ),
    arguments=_sglang,
    inside=("python3",),
    mounts=(_HUB,),
    failures=(
        torch_is_full("Lower `mem_fraction_static` or `context_length`."),
        FailurePattern(
            "sglang_no_memory",
            r"Not enough memory\. Please try to increase --mem-fraction-static",
            heals=False,
            advice="The weights leave no room for a cache: raise `mem_fraction_static`.",
        ),
        HUB_REFUSES,
        MODEL_MISSING,
        BAD_FLAG,
    ),
    load_s=60.0,
    need=lambda options: Need(
        0, OWN_RAM, 0, share=options.mem_fraction_static, gpus=options.tp_size
    ),
    sleep=(Call("/release_memory_occupation", body="{}"),),
    wake=(Call("/resume_memory_occupation", body="{}"),),
    asleep=lambda options: _weights_in_ram(options.model, options.tp_size),
    doubts=("what it takes beside weights and cache is not counted",),
    more=_SHARED,
)


@attrs.frozen
class LmdeployOptions:
    """What a service of the type `lmdeploy` may say."""

    model: Model
    backend: Literal["turbomind", "pytorch"] | None = None
    session_len: Count | None = None
    cache_max_entry_count: Share | None = None
    quant_policy: Natural | None = None
    tp: Count | None = None
    max_batch_size: Count | None = None
    sleep_mode: bool = False
    hf_token: Word | None = None
    args: Command = ()
    binary: str = "lmdeploy"


def _lmdeploy(options: LmdeployOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("serve", "api_server", model, "--server-name", host, "--server-port", port)
    yield from ("--model-name", "${SERVICE}")
    yield from same(
        options,
        "backend session_len cache_max_entry_count quant_policy tp max_batch_size",
    )


LMDEPLOY = Simple(
    name="lmdeploy",
    options=LmdeployOptions,
    images={"cuda": "openmmlab/lmdeploy:latest"},
    port=23333,
    ready=Probe("/health"),
    live=LiveProbe("/health"),
    ready_line=r"Uvicorn running on",
    admin=(
        *("/sleep", "/wakeup", "/terminate", "/abort_request", "/update_weights*"),
        *("/init_weights_update_group", "/destroy_weights_update_group", "/distserve/*"),
    ),
    arguments=_lmdeploy,
    inside=("lmdeploy",),
    mounts=(_HUB,),
    failures=(
        torch_is_full("Lower `cache_max_entry_count`, `session_len` or `max_batch_size`."),
        HUB_REFUSES,
        MODEL_MISSING,
        BAD_FLAG,
    ),
    load_s=60.0,
    # It wants its questions to be JSON.  At level 2 it would keep no weights, and has no way to
    # read them anew.
    sleep=(Call("/sleep?level=1", body="{}"),),
    wake=(Call("/wakeup", body="{}"),),
    asleep=lambda options: _weights_in_ram(options.model, options.tp or 1),
    more={"ipc": "host"},
)


@attrs.frozen
class OllamaOptions:
    """What a service of the type `ollama` may say."""

    context_length: Count | None = None
    parallel: Count | None = None
    flash_attention: bool | None = None
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = None
    max_loaded_models: Count = 1
    variant: Literal["cuda", "rocm", "cpu"] = "cuda"
    binary: str = "ollama"


def _ollama(options: OllamaOptions, host: str, port: str) -> Iterator[tuple[str, str]]:
    # Its own scheduler has nothing to decide: the proxy unloads its models, or stops it.
    yield ("OLLAMA_KEEP_ALIVE", "-1")
    yield ("OLLAMA_MAX_LOADED_MODELS", str(options.max_loaded_models))
    yield ("OLLAMA_HOST", f"{host}:{port}")
    for variable, value in (
        ("OLLAMA_CONTEXT_LENGTH", options.context_length),
        ("OLLAMA_NUM_PARALLEL", options.parallel),
        ("OLLAMA_KV_CACHE_TYPE", options.kv_cache_type),
    ):
        if value is not None:
            yield (variable, str(value))
    if options.flash_attention is not None:
        yield ("OLLAMA_FLASH_ATTENTION", "1" if options.flash_attention else "0")


OLLAMA = Simple(
    name="ollama",
    options=OllamaOptions,
    images={
        "cuda": "ollama/ollama:latest",
        "rocm": "ollama/ollama:rocm",
        "cpu": "ollama/ollama:latest",
    },
    port=11434,
    ready=Probe("/api/version"),
    live=LiveProbe("/api/version"),
    ready_line=r"Listening on",
    admin=(
        *("POST /api/pull", "POST /api/push", "POST /api/create", "POST /api/copy"),
        *("POST /api/blobs/*", "DELETE /api/delete", "POST /api/signout"),
        "DELETE /api/user/keys/*",
    ),
    inside=("serve",),
    outside=("serve",),
    variables=_ollama,
    mounts=(Mount("ollama", "/root/.ollama"),),
    models=lambda options: OllamaModels(options.max_loaded_models),
    load_s=3.0,
)


@attrs.frozen
class KoboldcppOptions:
    """What a service of the type `koboldcpp` may say."""

    model: ExistingFile
    contextsize: Count | None = None
    gpulayers: Natural | None = None
    threads: Count | None = None
    flashattention: bool = False
    args: Command = ()
    binary: str = "koboldcpp"


def _koboldcpp(options: KoboldcppOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("--model", model, "--host", host, "--port", port, "--quiet", "--skiplauncher")
    yield from same(options, "contextsize gpulayers threads flashattention")


KOBOLDCPP = Simple(
    name="koboldcpp",
    options=KoboldcppOptions,
    # No image of it is known well enough: name one in `container`, with its command.
    images={"cuda": ""},
    port=5001,
    ready=Probe("/api/extra/version"),
    live=LiveProbe("/api/extra/version"),
    ready_line=r"Please connect to custom endpoint",
    admin=("/api/admin/*",),
    arguments=_koboldcpp,
    failures=(BAD_FLAG,),
    load_s=15.0,
)
