"""vLLM with one model of the hub or of a folder (docs/reference/templates/vllm.md)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import attrs

from proxyserver.runtime._protocol import Call, FailurePattern, LiveProbe, Mount, Probe, ProcessSpec
from proxyserver.shapes import Command, Count, ExistingFile, Model, Share, Size, Word

from ._parts import (
    HUB_REFUSES,
    HUB_VOLUME,
    MODEL_CORRUPT,
    MODEL_MISSING,
    container,
    flags,
    hub_environment,
    mounted,
    same,
    switch,
    torch_is_full,
)
from ._protocol import Asleep, Draft, Need, Room
from ._vllm_figures import (
    LACKING,
    give_more,
    make_room,
    shorten,
    smaller_cache,
    smaller_share,
)
from ._weights import NotKnown, weights, weights_of

IMAGES = {
    "cuda": "vllm/vllm-openai:latest",
    "rocm": "vllm/vllm-openai-rocm:latest",
    "cpu": "vllm/vllm-openai-cpu:latest-x86_64",
}
PORT = 8000
LOAD_S = 90.0
"""A guess: imports, weights, and graphs that are compiled once."""
OWN_RAM = 4 << 30
"""An allowance, not measured, for its own processes."""
ROOM = 2 << 30
"""An allowance, not measured, for what it takes of a GPU beside weights and cache."""
SLEEPS = {level: (Call(f"/sleep?level={level}&mode=wait"),) for level in (1, 2)}
"""Its default mode, `abort`, would kill what is in flight."""
WAKES = {
    1: (Call("/wake_up"),),
    # At level 2 it keeps no weights: it reads them anew, before it makes a cache of the rest.
    2: (
        Call("/wake_up?tags=weights"),
        Call("/collective_rpc", body='{"method": "reload_weights"}'),
        Call("/wake_up?tags=kv_cache"),
    ),
}
ASLEEP_LINE = (
    r"Sleep mode freed (?P<freed>\d+(?:\.\d+)?) GiB memory,"
    r" (?P<used>\d+(?:\.\d+)?) GiB memory is still in use"
)
RELOAD_S = 15.0
"""A guess at what it takes to read the weights anew."""

ADMIN = (
    *("/sleep", "/wake_up", "/pause", "/resume", "/abort_requests", "/collective_rpc"),
    *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/server_info"),
    *("/init_weight_transfer_engine", "/update_weights", "/update_weight_version"),
    *("/start_*weight_update", "/finish_weight_update", "/weight_checker"),
    *("/start_profile", "/stop_profile", "/scale_elastic_ep", "/fault_tolerance/*"),
    *("/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
)
"""Its API key guards `/v1` alone, and the mode of developers, without which it cannot sleep, opens
the others to whoever reaches it."""

FAILURES = (
    FailurePattern(
        "vllm_precheck",
        r"Free memory on device .* on startup is less than desired GPU memory utilization",
        heals=True,
        out_of_memory=True,
        advice=make_room,
    ),
    FailurePattern("vllm_no_kv", LACKING, heals=False, advice=give_more),
    FailurePattern(
        "vllm_ram",
        r"Available memory on node .* is less than (desired|requested)",
        heals=True,
        out_of_memory=True,
        advice="Others held main memory: set `kv_cache_memory`, or lower it, or claim more `ram` "
        "so that they make room.",
    ),
    FailurePattern(
        "vllm_no_kv",
        r"No available memory for the cache blocks",
        heals=False,
        advice=give_more,
    ),
    FailurePattern(
        "vllm_kv_small",
        r"estimated maximum model length is \d+",
        heals=False,
        advice=shorten,
    ),
    FailurePattern(
        "vllm_max_len",
        r"max_model_len \(\d+\) is greater than the derived max_model_len",
        heals=False,
        advice="The model was not made for that: lower `max_model_len`.",
    ),
    torch_is_full(
        "Lower `gpu_memory_utilization`, `max_num_seqs` or `max_model_len`, or set "
        "`enforce_eager: true`."
    ),
    HUB_REFUSES,
    FailurePattern(
        "unsupported",
        r"Model architectures .* are not supported",
        heals=False,
        advice="This vLLM does not know the model: take a newer image.",
    ),
    MODEL_MISSING,
    MODEL_CORRUPT,
    FailurePattern(
        "bad_flag",
        r"error: unrecognized arguments:|error: argument --\S+: ",
        heals=False,
        advice="vLLM does not know one of its arguments: check `args`, or take a newer image.",
    ),
    FailurePattern(
        "bad_config",
        r"^\s*Value error, ",
        heals=False,
        advice="vLLM refuses what it was told: check the options, and `args`.",
    ),
)
"""The loudest line of a failure, that the engine core did not start, is not among them: it says
only that one of these stands above it."""


@attrs.frozen
class VllmOptions:
    """What a service of the type `vllm` may say."""

    model: Model
    max_model_len: Count | None = None
    gpu_memory_utilization: Share = 0.9
    kv_cache_memory: Size | None = None
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] | None = None
    quantization: Word | None = None
    kv_cache_dtype: Word | None = None
    tensor_parallel_size: Count = 1
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    cpu_offload: Size | None = None
    enforce_eager: bool = False
    sleep_mode: bool = False
    sleep_level: Literal[1, 2] = 1
    prefix_caching: bool | None = None
    trust_remote_code: bool = False
    runner: Literal["generate", "pooling"] | None = None
    tool_call_parser: Word | None = None
    reasoning_parser: Word | None = None
    chat_template: ExistingFile | None = None
    hf_token: Word | None = None
    api_key: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "rocm", "cpu"] = "cuda"
    binary: str = "vllm"


class Vllm:
    """Runs vLLM as a container of the project's own images, or as a process."""

    name = "vllm"
    options = VllmOptions

    def draft(self, options: VllmOptions) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: the options contradict each other.
        """
        _check(options)
        model, mounts = mounted(options.model)
        template = options.chat_template
        if template is not None:
            inside = "/models/chat_template.jinja"
            mounts += (Mount(str(Path(template).resolve()), inside, read_only=True),)
            template = inside
        environment = tuple(_environment(options))
        need, without_gpu, doubts = _needs(options)
        return Draft(
            container=container(
                IMAGES[options.variant],
                PORT,
                (model, *_arguments(options, template, "0.0.0.0", str(PORT))),
                variant=options.variant,
                environment=environment,
                mounts=(
                    Mount(HUB_VOLUME, "/root/.cache/huggingface"),
                    # What it compiles; else every container does so anew.
                    Mount("vllm", "/root/.cache/vllm"),
                    *mounts,
                ),
                # Its processes talk by shared memory.
                ipc="host",
            ),
            process=ProcessSpec(
                (
                    *(options.binary, "serve", options.model),
                    *_arguments(options, options.chat_template, "127.0.0.1", "${PORT}"),
                ),
                environment,
            ),
            # It listens only when the engine is ready, and says 503 when the engine has died.
            ready=Probe("/health", 200),
            ready_line=r"Application startup complete",
            live=LiveProbe("/health", 200),
            metrics="/metrics",
            failures=FAILURES,
            admin=ADMIN,
            load_s=LOAD_S,
            sleep=SLEEPS[options.sleep_level] if options.sleep_mode else (),
            wake=WAKES[options.sleep_level] if options.sleep_mode else (),
            asleep_line=ASLEEP_LINE,
            wake_s=RELOAD_S if options.sleep_level == 2 else None,
            asleep=_asleep(options),
            need=need,
            need_without_gpu=without_gpu,
            doubts=doubts,
            remedy=partial(_remedy, options, need or without_gpu),
        )


def _remedy(options: VllmOptions, need: Need | None, room: Room) -> str:
    if need is not None and need.share:
        return smaller_share(need, room)
    if need is not None and options.kv_cache_memory is not None:
        return smaller_cache(need, options.kv_cache_memory, room)
    return ""


def _check(options: VllmOptions) -> None:
    if options.variant == "cpu" and options.cpu_offload is not None:
        raise ValueError("`cpu_offload` means nothing for the variant `cpu`")
    if options.variant == "cpu" and options.sleep_mode:
        raise ValueError("the variant `cpu` cannot sleep: leave out `sleep_mode`")
    if options.sleep_level == 2 and not options.sleep_mode:
        raise ValueError("`sleep_level` says how deeply it sleeps: set `sleep_mode: true`, too")
    if options.variant == "cpu" and options.tensor_parallel_size > 1:
        raise ValueError("the variant `cpu` has no GPUs for `tensor_parallel_size`")


def _environment(options: VllmOptions) -> Iterator[tuple[str, str]]:
    yield from hub_environment(options.hf_token)
    if options.api_key is not None:
        yield ("VLLM_API_KEY", options.api_key)
    if options.variant == "cpu" and options.kv_cache_memory is not None:
        # In whole GiB, and 0 would mean its own choice.
        yield ("VLLM_CPU_KVCACHE_SPACE", str(max(options.kv_cache_memory >> 30, 1)))
    if options.sleep_mode:
        # Without it there are no paths to sleep and to wake.
        yield ("VLLM_SERVER_DEV_MODE", "1")
    # It reports what it is used for, otherwise.
    yield ("DO_NOT_TRACK", "1")


def _arguments(
    options: VllmOptions, chat_template: str | None, host: str, port: str
) -> Iterator[str]:
    """Yield vLLM's arguments after the model."""
    with_gpu = options.variant != "cpu"
    yield from ("--host", host, "--port", port)
    # It refuses any other name.
    yield from ("--served-model-name", "${NAMES}")
    if with_gpu and options.kv_cache_memory is None:
        # Said even where it is the default, which differs between versions: the claim rests on it.
        yield from ("--gpu-memory-utilization", f"{options.gpu_memory_utilization:g}")
    offload = None if options.cpu_offload is None else f"{options.cpu_offload / 2**30:g}"
    yield from same(
        options,
        "max_model_len dtype quantization kv_cache_dtype max_num_seqs max_num_batched_tokens"
        " enforce_eager trust_remote_code runner tool_call_parser reasoning_parser",
    )
    yield from flags(
        ("--kv-cache-memory-bytes", options.kv_cache_memory if with_gpu else None),
        ("--tensor-parallel-size", options.tensor_parallel_size if with_gpu else None),
        ("--cpu-offload-gb", offload),
        ("--enable-sleep-mode", options.sleep_mode),
        ("--enable-auto-tool-choice", options.tool_call_parser is not None),
        ("--chat-template", chat_template),
    )
    yield from switch("enable-prefix-caching", options.prefix_caching)
    yield from options.args


def _asleep(options: VllmOptions) -> Asleep | None:
    """Return what it holds asleep: at level 1 its weights, in main memory; at level 2 nothing."""
    kept = 0 if options.sleep_level == 2 else weights_of(options.model)
    if not options.sleep_mode or kept is None:
        return None
    return Asleep(ROOM * options.tensor_parallel_size, kept + OWN_RAM)


def _needs(options: VllmOptions) -> tuple[Need | None, Need | None, tuple[str, ...]]:
    """Return what it takes with GPUs and without, and what that leaves out."""
    cache = options.kv_cache_memory
    if options.variant != "cpu" and cache is None:
        share, gpus = options.gpu_memory_utilization, options.tensor_parallel_size
        ram = OWN_RAM + (options.cpu_offload or 0)
        return Need(0, ram, 0, share=share, gpus=gpus), None, ()
    if cache is None:
        return None, None, ("its memory is not estimated: set `kv_cache_memory`",)
    try:
        certain = weights(Path(options.model)) if options.model.startswith("/") else None
    except (NotKnown, OSError) as error:
        return None, None, (f"its memory is not estimated: {error}",)
    if certain is None or options.tensor_parallel_size > 1 or options.quantization is not None:
        known = "a folder, on one GPU, without `quantization`"
        return None, None, (f"with `kv_cache_memory` its memory is estimated for {known} alone",)
    if options.variant == "cpu":
        need = Need(0, certain + cache + OWN_RAM, certain + cache)
        return need, need, ()
    return Need(certain + cache + ROOM, OWN_RAM, certain + cache), None, ()
