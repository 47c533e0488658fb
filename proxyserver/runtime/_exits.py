"""Why a run ended, or never began: from exit codes, logs and refusals to a cause."""

import re
import signal
from collections.abc import Sequence

import attrs

from proxycore import Cause

from ._protocol import FailurePattern

SHOWN_LINES = 3
"""Log lines that a message quotes; the exit report has more."""

UNKNOWN = "exit"
"""The kind of an end that no pattern explains."""

_ROOM = "Give the service more room: a larger `memory` claim, fewer layers or a shorter context."
_MODEL = "Check the path or name of the model in the configuration."

GENERAL: tuple[FailurePattern, ...] = (
    FailurePattern(
        "gpu_runtime",
        r"could not select device driver|[Uu]nknown runtime specified nvidia"
        r"|unknown or invalid runtime name: nvidia",
        heals=False,
        advice="The engine cannot give GPUs to containers: install the NVIDIA Container Toolkit, "
        "run `nvidia-ctk runtime configure`, restart the engine.",
    ),
    FailurePattern(
        "oci_runtime",
        r"[Uu]nknown runtime specified |unknown or invalid runtime name: ",
        heals=False,
        advice="The engine has no such runtime (`docker info` lists them): install it, or correct "
        "`runtime`.",
    ),
    FailurePattern(
        "driver",
        r"CUDA driver version is insufficient|unsatisfied condition: cuda>=",
        heals=False,
        advice="The image needs a newer NVIDIA driver: update the driver or take an older image.",
    ),
    FailurePattern(
        "gpu_device",
        r"error gathering device information",
        heals=False,
        advice="A device that the service asks for does not exist on this machine.",
    ),
    FailurePattern(
        "vllm_precheck",
        r"Free memory on device .* on startup is less than desired GPU memory utilization",
        heals=True,
        out_of_memory=True,
        advice="Lower --gpu-memory-utilization, or claim more memory so that others make room.",
    ),
    FailurePattern(
        "vllm_no_kv",
        r"No available memory for the cache blocks",
        heals=False,
        advice="Raise --gpu-memory-utilization.",
    ),
    FailurePattern(
        "vllm_kv_small",
        r"estimated maximum model length is \d+",
        heals=False,
        advice="Lower --max-model-len to what the log line says.",
    ),
    FailurePattern(
        "gpu_oom",
        r"cudaMalloc failed: out of memory|CUDA error: out of memory"
        r"|ErrorOutOfDeviceMemory|VK_ERROR_OUT_OF_DEVICE_MEMORY|hipMalloc failed"
        r"|torch\.(cuda\.)?OutOfMemoryError|CUDA out of memory\. Tried to allocate",
        heals=True,
        out_of_memory=True,
        advice=f"The GPU was full. {_ROOM}",
    ),
    FailurePattern(
        "alloc",
        r"failed to allocate (\S+ )?buffer of size \d+|unable to allocate \S+ buffer"
        r"|failed to allocate buffer for kv cache|failed to allocate compute (pp|tg) buffers",
        heals=True,
        out_of_memory=True,
        advice=_ROOM,
    ),
    FailurePattern(
        "port_in_use",
        r"couldn't bind HTTP server socket|[Aa]ddress already in use|port is already allocated"
        r"|Port \d+ is currently in use\. Switching",
        heals=True,
        advice="Something else listens on that port: stop it or choose another port.",
    ),
    FailurePattern(
        "model_missing",
        r"failed to open GGUF file '.*' \(No such file|LocalEntryNotFoundError"
        r"|HFValidationError|Could not find the model path",
        heals=False,
        advice=_MODEL,
    ),
    FailurePattern(
        "model_corrupt",
        r"invalid magic characters|failed to read (magic|header|key-value pairs|tensor info)"
        r"|model is corrupted or incomplete"
        r"|only supports up to version",
        heals=False,
        advice="The model file is damaged, incomplete or too new: fetch it again.",
    ),
    FailurePattern(
        "unsupported",
        r"unknown model architecture: '|Model architectures .* are not supported",
        heals=False,
        advice="This version of the server does not know the model: update it.",
    ),
    FailurePattern(
        "bad_flag",
        r"error: invalid argument:|error while handling argument|error: unrecognized arguments:"
        r"|error: argument \S+: ",
        heals=False,
        advice="The server does not know one of its arguments: check the command.",
    ),
    FailurePattern(
        "hf_auth",
        r"Cannot access gated repo for url|gated repo|RepositoryNotFoundError"
        r"|Access to model \S+ is restricted|40[13] Client Error|HTTP status client error \(40[13]",
        heals=False,
        advice="The model hub wants a token: accept the model's licence on its page there, make a "
        "token that may read, and set `hf_token`, or HF_TOKEN under `environment`.",
    ),
    FailurePattern(
        "mount_missing",
        r"bind source path does not exist",
        heals=False,
        advice="Create that file or folder, or correct the volume.",
    ),
    FailurePattern(
        "disk_full",
        r"[Nn]o space left on device|[Dd]isk quota exceeded",
        heals=True,
        advice="A disk is full: make room (`df -h`; `docker system df` for the engine's).",
    ),
    FailurePattern(
        "bad_entrypoint",
        r"exec: .*(not found|no such file|permission denied)|FATAL tini .* exec .* failed"
        r"|error while loading shared libraries",
        heals=False,
        advice="The program cannot be run: check command, entrypoint and libraries.",
    ),
    FailurePattern(
        "image_missing",
        r"No such image",
        heals=False,
        advice="Fetch the image with `aiproxy pull`.",
    ),
    FailurePattern(
        "network_missing",
        r"network \S+ not found",
        heals=False,
        advice="Create the network with `docker network create`, or correct its name.",
    ),
    # Last: it says only that the true reason stands earlier in the log.
    FailurePattern(
        "engine_dead",
        r"Engine core initialization failed|EngineCore encountered a fatal error",
        heals=True,
        advice="Look earlier in the log for the reason.",
    ),
)
"""What any service may fail of; a template's own patterns are asked first."""


# llama.cpp first tries a larger buffer, complains that it does not fit, then goes on without.
_TRIES_AGAIN = "retrying without pipeline parallelism"


def classify(
    exit_code: int | None,
    oom_killed: bool,
    log_tail: Sequence[str],
    patterns: Sequence[FailurePattern] = (),
) -> Cause:
    """Tell why a run ended that was not asked to."""
    ending = _ending(exit_code)
    if oom_killed:
        return Cause(
            "ram_oom",
            f"{ending}: the kernel killed it at its memory limit. Raise `mem_limit` and the claim "
            "on `ram`, or make the service need less.",
        )
    if (known := explain(log_tail, patterns)) is not None:
        return attrs.evolve(known, message=f"{ending}: {known.message}")
    shown = " | ".join(line.strip() for line in log_tail[-SHOWN_LINES:])
    return Cause(UNKNOWN, f"{ending}; its last words: {shown}" if shown else f"{ending} in silence")


def explain(lines: Sequence[str], patterns: Sequence[FailurePattern] = ()) -> Cause | None:
    """Find the first pattern that matches a line; None: nothing that we know.

    The order of the patterns decides, not the order of the lines: the first cry of a server is
    often vague, and what makes a pattern specific is known to who wrote the list.
    """
    told = list(lines)
    while any(_TRIES_AGAIN in line for line in told):
        del told[0]
    for failure in (*patterns, *GENERAL):
        for line in reversed(told):
            if re.search(failure.pattern, line):
                words = line.strip().rstrip(".")
                advice = failure.advice if isinstance(failure.advice, str) else failure.advice(line)
                message = f"{words}. {advice}" if advice else words
                return Cause(failure.kind, message, failure.heals, failure.out_of_memory)
    return None


def refusal(image: str, status: int | None, message: str) -> Cause:
    """Return why an engine makes no container of an image, by the status and words of its error."""
    if "no such image" in message.lower():
        advice = f"image {image!r} is not here: fetch it with `aiproxy pull`"
        return Cause("image_missing", advice, heals=False)
    if status == 409:
        advice = f"{message} Remove the container of that name."
        return Cause("name_conflict", advice, heals=False)
    return explain([message]) or Cause("start_failed", message)


def _ending(exit_code: int | None) -> str:
    match exit_code:
        case None:
            return "ended, with an unknown exit code"
        case 0:
            return "ended by itself with exit code 0"
        case code if code < 0 or 128 < code < 128 + signal.NSIG:
            number = -code if code < 0 else code - 128
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = f"signal {number}"
            hint = " (killed from outside, perhaps for want of memory)" if number == 9 else ""
            return f"ended by {name}, exit code {code}{hint}"
        case code:
            return f"failed with exit code {code}"
