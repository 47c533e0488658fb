"""infinity: embeddings and reranking, several models in one process (docs/reference/templates)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import attrs

from proxyserver.runtime._protocol import FailurePattern, LiveProbe, Mount, Probe, ProcessSpec
from proxyserver.shapes import Command, Count, Models, Word

from ._parts import (
    HUB_REFUSES,
    HUB_VOLUME,
    MODEL_CORRUPT,
    MODEL_MISSING,
    NO_ESTIMATE,
    container,
    hub_environment,
    mounted,
    same,
    switch,
    torch_is_full,
)
from ._protocol import Draft

IMAGE = "michaelf34/infinity"
PORT = 7997
LOAD_S = 20.0
"""Its imports alone take 10 s and more."""

_TAGS = {"cuda": "latest", "cpu": "latest-cpu"}
_QUIET = ("DO_NOT_TRACK", "1")

FAILURES = (
    torch_is_full("Take a smaller `batch_size` or `dtype: float16`, or claim more memory."),
    HUB_REFUSES,
    MODEL_MISSING,
    MODEL_CORRUPT,
    FailurePattern(
        "engine_missing",
        r"is not available\. install via",
        heals=False,
        advice="The program was installed without what this `engine` needs.",
    ),
    FailurePattern(
        "bad_flag",
        r"No such option: |Invalid value for ",
        heals=False,
        advice="infinity does not know one of its arguments: check `args`, or take a newer image.",
    ),
)


@attrs.frozen
class InfinityOptions:
    """What a service of the type `infinity` may say."""

    model: Models
    engine: Literal["torch", "optimum", "ctranslate2", "debugengine"] | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16", "int8", "fp8"] | None = None
    embedding_dtype: Literal["float32", "int8", "uint8", "binary", "ubinary"] | None = None
    batch_size: Count | None = None
    revision: Word | None = None
    trust_remote_code: bool = False
    """infinity's own default is true."""
    model_warmup: bool | None = None
    hf_token: Word | None = None
    args: Command = ()
    variant: Literal["cuda", "cpu"] = "cuda"
    binary: str = "infinity_emb"


class Infinity:
    """Runs infinity as a container of the project's own images, or as a process."""

    name = "infinity"
    options = InfinityOptions

    def draft(self, options: InfinityOptions) -> Draft:
        """Make a proposal from the options.

        Raises:
            ValueError: two models would have one name.
        """
        names = [_name(model) for model in options.model]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"`model`: two of them would be called {twice[0]!r}")
        placed = [mounted(model) for model in options.model]
        environment = (_QUIET, *hub_environment(options.hf_token))
        inside = _arguments(options, [name for name, _ in placed], "0.0.0.0", str(PORT))
        outside = _arguments(options, options.model, "127.0.0.1", "${PORT}")
        return Draft(
            container=container(
                f"{IMAGE}:{_TAGS[options.variant]}",
                PORT,
                inside,
                variant=options.variant,
                environment=environment,
                mounts=(
                    Mount(HUB_VOLUME, "/app/.cache/huggingface"),
                    *(mount for _, mounts in placed for mount in mounts),
                ),
            ),
            process=ProcessSpec((options.binary, *outside), environment),
            ready=Probe("/health", 200),
            ready_line=r"Uvicorn running on",
            live=LiveProbe("/health", 200),
            metrics="/metrics",
            failures=FAILURES,
            load_s=LOAD_S,
            names=tuple(names),
            doubts=(NO_ESTIMATE,),
        )


def _name(model: str) -> str:
    """Return the name of a model at the hub, or of its folder."""
    return Path(model).resolve().name if model.startswith("/") else model


def _arguments(
    options: InfinityOptions, models: Sequence[str], host: str, port: str
) -> Iterator[str]:
    yield "v2"
    for model in models:
        yield from ("--model-id", model)
    if len(models) > 1:
        # It calls a folder by the last two parts of its path, which differ in a container.
        for model in options.model:
            yield from ("--served-model-name", _name(model))
    # Without the prefix its paths are not those of OpenAI's API; /health has none all the same.
    yield from ("--host", host, "--port", port, "--url-prefix", "/v1")
    # One value holds for all models.
    yield from same(options, "engine dtype embedding_dtype batch_size revision")
    yield from switch("trust-remote-code", options.trust_remote_code)
    yield from switch("model-warmup", options.model_warmup)
    yield from options.args
