"""Servers for speech, pictures and documents, as data (docs/reference/templates)."""

import json
from collections.abc import Iterator
from typing import Literal

import attrs

from proxyserver.runtime._protocol import Call, LiveProbe, Mount, Probe
from proxyserver.shapes import Command, Count, ExistingFile, ExistingFolder, Word

from ._parts import same, torch_is_full
from ._simple import Simple
from ._speaches_models import SpeachesModels

_LESS = torch_is_full("Claim more memory, so that others make room.")


@attrs.frozen
class WhispercppOptions:
    """What a service of the type `whispercpp` may say."""

    model: ExistingFile
    language: Word | None = None
    threads: Count | None = None
    convert: bool = False
    args: Command = ()
    variant: Literal["cuda", "cpu"] = "cuda"
    binary: str = "whisper-server"


def _whispercpp(options: WhispercppOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("--model", model, "--host", host, "--port", port)
    # As in OpenAI's API; its own path is /inference.
    yield from ("--inference-path", "/v1/audio/transcriptions")
    yield from same(options, "language threads convert")


WHISPERCPP = Simple(
    name="whispercpp",
    options=WhispercppOptions,
    images={
        "cuda": "ghcr.io/ggml-org/whisper.cpp:main-cuda",
        "cpu": "ghcr.io/ggml-org/whisper.cpp:main",
    },
    port=8080,
    ready=Probe("/health"),
    live=LiveProbe("/health"),
    ready_line=r"server listening at",
    admin=("/load",),  # A model that is none ends it.
    arguments=_whispercpp,
    inside=("whisper-server",),
    one_string=True,
    load_s=5.0,
)


@attrs.frozen
class SpeachesOptions:
    """What a service of the type `speaches` may say."""

    preload: tuple[Word, ...] = ()
    hf_token: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "cpu"] = "cuda"
    binary: str = "uvicorn"
    folder: ExistingFolder | None = None


def _speaches(options: SpeachesOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("--factory", "speaches.main:create_app", "--host", host, "--port", port)


def _speaches_variables(
    options: SpeachesOptions, host: str, port: str
) -> Iterator[tuple[str, str]]:
    # The proxy unloads its models, or stops it.
    yield from (("STT_MODEL_TTL", "-1"), ("TTS_MODEL_TTL", "-1"))
    if options.preload:
        yield ("PRELOAD_MODELS", json.dumps(list(options.preload)))


SPEACHES = Simple(
    name="speaches",
    options=SpeachesOptions,
    images={
        "cuda": "ghcr.io/speaches-ai/speaches:latest-cuda-12.6.3",
        "cpu": "ghcr.io/speaches-ai/speaches:latest-cpu",
    },
    port=8000,
    ready=Probe("/health"),
    live=LiveProbe("/health"),
    ready_line=r"Uvicorn running on",
    admin=("POST /api/ps/*", "DELETE /api/ps/*", "POST /v1/models/*", "DELETE /v1/models/*"),
    arguments=_speaches,
    # The image listens on its port by itself.
    inside=None,
    variables=_speaches_variables,
    mounts=(Mount("speaches", "/home/ubuntu/.cache/huggingface/hub"),),
    models=lambda options: SpeachesModels(),
    failures=(_LESS,),
    load_s=10.0,
)


@attrs.frozen
class SdcppOptions:
    """What a service of the type `sdcpp` may say."""

    model: ExistingFile
    threads: Count | None = None
    offload_to_cpu: bool = False
    diffusion_fa: bool = False
    args: Command = ()
    binary: str = "sd-server"


def _sdcpp(options: SdcppOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("--model", model, "--listen-ip", host, "--listen-port", port)
    yield from same(options, "threads offload_to_cpu diffusion_fa")


SDCPP = Simple(
    name="sdcpp",
    options=SdcppOptions,
    images={"cpu": "ghcr.io/leejet/stable-diffusion.cpp:master"},
    port=1234,
    ready=Probe("/sdcpp/v1/capabilities"),
    live=LiveProbe("/sdcpp/v1/capabilities"),
    ready_line=r"listening on",
    arguments=_sdcpp,
    load_s=15.0,
    more={"entrypoint": ("/sd-server",)},
)


@attrs.frozen
class ComfyuiOptions:
    """What a service of the type `comfyui` may say."""

    vram: Literal["high", "normal", "low", "no"] | None = None
    cpu: bool = False
    args: Command = ()
    binary: str = "python3"
    folder: ExistingFolder | None = None


def _comfyui(options: ComfyuiOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("main.py", "--listen", host, "--port", port)
    yield from same(options, "cpu")
    if options.vram is not None:
        yield f"--{options.vram}vram"


COMFYUI = Simple(
    name="comfyui",
    options=ComfyuiOptions,
    # There is no official image: name one in `container`; its command is its own.
    images={"cuda": ""},
    port=8188,
    ready=Probe("/system_stats"),
    live=LiveProbe("/system_stats"),
    ready_line=r"To see the GUI go to",
    admin=("/free",),
    arguments=_comfyui,
    inside=None,
    failures=(_LESS,),
    load_s=15.0,
)


@attrs.frozen
class KokoroOptions:
    """What a service of the type `kokoro` may say."""

    sleep_mode: bool = False
    variant: Literal["cuda", "cpu"] = "cuda"
    args: Command = ()
    binary: str = "uvicorn"
    folder: ExistingFolder | None = None


def _kokoro_variables(options: KokoroOptions, host: str, port: str) -> Iterator[tuple[str, str]]:
    if options.sleep_mode:
        yield ("ALLOW_DEV_UNLOAD", "true")


def _kokoro(options: KokoroOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("api.src.main:app", "--host", host, "--port", port)


KOKORO = Simple(
    name="kokoro",
    options=KokoroOptions,
    images={
        "cuda": "ghcr.io/remsky/kokoro-fastapi-gpu:latest",
        "cpu": "ghcr.io/remsky/kokoro-fastapi-cpu:latest",
    },
    port=8880,
    ready=Probe("/health"),
    live=LiveProbe("/health"),
    ready_line=r"Uvicorn running on",
    admin=("/dev/unload", "/debug/*"),
    arguments=_kokoro,
    inside=None,
    variables=_kokoro_variables,
    sleep=(Call("/dev/unload"),),
    # It loads its model again for the next request; there is nothing to ask for.
    wake=(Call("/health", "GET"),),
    failures=(_LESS,),
    load_s=15.0,
)


@attrs.frozen
class DoclingOptions:
    """What a service of the type `docling` may say."""

    enable_ui: bool = False
    args: Command = ()
    binary: str = "docling-serve"


def _docling(options: DoclingOptions, model: str, host: str, port: str) -> Iterator[str]:
    yield from ("run", "--host", host, "--port", port)
    yield from same(options, "enable_ui")


DOCLING = Simple(
    name="docling",
    options=DoclingOptions,
    images={"cuda": "quay.io/docling-project/docling-serve:latest"},
    port=5001,
    # /health says yes before its models are there.
    ready=Probe("/ready"),
    live=LiveProbe("/health"),
    metrics="/metrics",
    ready_line=r"Uvicorn running on",
    admin=("/v1/clear/*",),
    arguments=_docling,
    inside=("docling-serve",),
    failures=(_LESS,),
    load_s=20.0,
)
