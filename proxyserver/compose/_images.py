"""Images of inference servers that are known by name: where they listen, and what to ask them."""

import re
from collections.abc import Iterable

import attrs


@attrs.frozen
class Known:
    """One kind of image, from the documentation of its project."""

    image: re.Pattern[str]
    port: int
    ready: str
    names: tuple[str, ...] = ()
    """Flags whose value is a name that clients use for the model."""


def _known(image: str, port: int, ready: str, *names: str) -> Known:
    return Known(re.compile(rf"(?:docker\.io/)?(?:{image})(?:[:@].*)?"), port, ready, names)


IMAGES = (
    _known(r"ghcr\.io/gg(?:ml-org|erganov)/llama\.cpp", 8080, "/health", "--alias", "-a"),
    _known(r"vllm/vllm-openai", 8000, "/health", "--served-model-name", "--model"),
    _known(r"michaelf34/infinity", 7997, "/health", "--served-model-name", "--model-id"),
    # Its /health says yes before a model is loaded.
    _known(r"ghcr\.io/theroyallab/tabbyapi", 5000, "/v1/model", "--model-name"),
    _known(r"ghcr\.io/huggingface/text-embeddings-inference", 80, "/health", "--model-id"),
    # Its /health generates a token.
    _known(r"lmsysorg/sglang", 30000, "/ready", "--served-model-name", "--model-path"),
    _known(r"ollama/ollama", 11434, "/api/version"),
    _known(r"openmmlab/lmdeploy", 23333, "/health", "--model-name"),
    _known(r"koboldai/koboldcpp", 5001, "/api/extra/version"),
    _known(r"ghcr\.io/speaches-ai/speaches", 8000, "/health"),
    _known(r"ghcr\.io/ggml-org/whisper\.cpp", 8080, "/health"),
    # There is no official image; these are the ones that people take.
    _known(
        r"yanwk/comfyui-boot|ghcr\.io/ai-dock/comfyui|mmartial/comfyui-nvidia-docker",
        8188,
        "/system_stats",
    ),
    _known(r"ghcr\.io/leejet/stable-diffusion\.cpp", 1234, "/sdcpp/v1/capabilities"),
    _known(r"ghcr\.io/remsky/kokoro-fastapi-[a-z]+", 8880, "/health"),
    _known(r"quay\.io/docling-project/docling-serve[a-z0-9-]*", 5001, "/ready"),
)


def known(image: str) -> Known | None:
    """Return what is known of an image."""
    return next((one for one in IMAGES if one.image.fullmatch(image)), None)


def value_of(words: Iterable[str], *flags: str) -> str | None:
    """Return the value of the first of these flags that a command has."""
    before = ""
    for word in words:
        if before in flags:
            return word
        name, separator, value = word.partition("=")
        if separator and name in flags:
            return value
        before = word
    return None
