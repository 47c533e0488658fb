"""What many templates share: GPUs of a container, models of the hub, words of a command."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from proxyserver.runtime._protocol import ContainerSpec, FailurePattern, Mount

# The engine's GPU requests are for NVIDIA only; the other drivers want their device files.
DEVICES = {"rocm": ("/dev/kfd", "/dev/dri"), "vulkan": ("/dev/dri",)}

HUB_VOLUME = "huggingface"
"""The engine's volume for what the hub's library fetches: one for all services, so that a model
is fetched once."""

NO_ESTIMATE = "its memory is not estimated: declare `memory`"

HUB_REFUSES = FailurePattern(
    "hf_auth",
    r"Cannot access gated repo for url|gated repo|RepositoryNotFoundError"
    r"|Access to model \S+ is restricted|40[13] Client Error|HTTP status client error \(40[13]",
    heals=False,
    advice="The model hub does not give it: check the name in `model`, accept the model's licence "
    "on its page there, make a token that may read, and set it as `hf_token`.",
)
MODEL_MISSING = FailurePattern(
    "model_missing",
    r"LocalEntryNotFoundError|HFValidationError|is not a local folder and is not a valid model"
    r"|does not appear to have a file named|Invalid repository ID or local directory specified"
    r"|No such file or directory: '\S+/config\.json'",
    heals=False,
    advice="There is no such model: check `model`, and the way to the model hub.",
)

MODEL_CORRUPT = FailurePattern(
    "model_corrupt",
    r"SafetensorError: ",
    heals=False,
    advice="A file of the model is damaged or incomplete: fetch it again.",
)


def torch_is_full(advice: str) -> FailurePattern:
    """Return what PyTorch says when a GPU is full."""
    return FailurePattern(
        "gpu_oom",
        r"torch\.(cuda\.)?OutOfMemoryError|CUDA out of memory|HIP out of memory"
        r"|CUDA error: out of memory",
        heals=True,
        out_of_memory=True,
        advice=f"The GPU was full. {advice}",
    )


def container(
    image: str, port: int, command: Iterable[str] | None, *, variant: str, **more: Any
) -> ContainerSpec:
    """Return a container with the GPUs that its variant uses.

    The image's own health check is off: our probes know better, and it may ask another port.
    """
    return ContainerSpec(
        image=image,
        port=port,
        command=None if command is None else tuple(command),
        gpus=variant.startswith("cuda"),
        devices=DEVICES.get(variant, ()),
        healthcheck=False,
        **more,
    )


def mounted(model: str) -> tuple[str, tuple[Mount, ...]]:
    """Return how a container calls a model, and the mount that it needs for that."""
    if not model.startswith("/"):
        return model, ()
    path = Path(model).resolve()
    target = f"/models/{path.name}"
    return target, (Mount(str(path), target, read_only=True),)


def hub_environment(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return the token by the environment, so that no list of processes shows it."""
    return () if token is None else (("HF_TOKEN", token),)


def flags(*pairs: tuple[str, object]) -> Iterator[str]:
    """Yield the flags that are wanted: with its value, alone for true, none for None or false."""
    for flag, value in pairs:
        if value is True:
            yield flag
        elif value is not None and value is not False:
            yield from (flag, str(value))


def same(options: Any, names: str) -> Iterator[str]:
    """Yield the flags of options that are called as their flags are: `max_len` is `--max-len`."""
    return flags(
        *((f"--{name.replace('_', '-')}", getattr(options, name)) for name in names.split())
    )


def switch(flag: str, value: bool | None) -> tuple[str, ...]:
    """Return `--flag` or `--no-flag`; None: neither."""
    if value is None:
        return ()
    return (f"--{flag}",) if value else (f"--no-{flag}",)
