"""Images of inference servers that are known by name: where they listen, and what to ask them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

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
    _known(r"ghcr\.io/leejet/stable-diffusion\.cpp", 1234, "/sdcpp/v1/capabilities"),
    _known(r"ghcr\.io/remsky/kokoro-fastapi-[a-z]+", 8880, "/health"),
    _known(r"quay\.io/docling-project/docling-serve[a-z0-9-]*", 5001, "/ready"),
)

_LLAMA = re.compile(
    r"ghcr\.io/gg(?:ml-org|erganov)/llama\.cpp:server(?:-([a-z]+)[0-9]*)?(?:-b\d+)?"
)
_LLAMA_FLAGS: Mapping[str, str] = {
    "-m": "model",
    "--model": "model",
    "-c": "ctx",
    "--ctx-size": "ctx",
    "-np": "parallel",
    "--parallel": "parallel",
    "-ngl": "gpu_layers",
    "--gpu-layers": "gpu_layers",
    "--n-gpu-layers": "gpu_layers",
    "-fa": "flash_attention",
    "--flash-attn": "flash_attention",
    "-ctk": "cache_type_k",
    "--cache-type-k": "cache_type_k",
    "-ctv": "cache_type_v",
    "--cache-type-v": "cache_type_v",
    "-t": "threads",
    "--threads": "threads",
    "-mm": "mmproj",
    "--mmproj": "mmproj",
    "--pooling": "pooling",
    "--api-key": "api_key",
}
_SWITCHES = {"--embedding": "embedding", "--embeddings": "embedding"}
_SWITCHES |= {"--rerank": "rerank", "--reranking": "rerank"}
_VLLM = re.compile(r"(?:docker\.io/)?vllm/vllm-openai(?::.*)?")
_VLLM_FLAGS: Mapping[str, str] = {
    "--model": "model",
    "--max-model-len": "max_model_len",
    "--gpu-memory-utilization": "gpu_memory_utilization",
    "--dtype": "dtype",
    "-q": "quantization",
    "--quantization": "quantization",
    "--kv-cache-dtype": "kv_cache_dtype",
    "-tp": "tensor_parallel_size",
    "--tensor-parallel-size": "tensor_parallel_size",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--tool-call-parser": "tool_call_parser",
    "--reasoning-parser": "reasoning_parser",
}
_VLLM_SWITCHES = {"--enforce-eager": "enforce_eager", "--trust-remote-code": "trust_remote_code"}
_NAMES = ("--served-model-name",)
_TOLD = frozenset({"--host", "--port"})
"""The template says these itself."""
_FILES = ("model", "mmproj")


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


def llamacpp(image: str, words: list[str], folders: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a llama-server's command as options of the type `llamacpp`; None: they do not say it.

    Args:
        image: its name, by which the variant is known.
        words: the arguments.
        folders: where what the container sees is on the host: targets of bind mounts to sources.
    """
    match = _LLAMA.fullmatch(image)
    variant = (match[1] or "cpu") if match else None
    if variant not in ("cpu", "cuda", "rocm", "vulkan"):
        return None
    options: dict[str, Any] = {"variant": variant}
    rest: list[str] = []
    pending = [part for word in words for part in _parted(word, _LLAMA_FLAGS)]
    while pending:
        word = pending.pop(0)
        if word in _SWITCHES:
            options[_SWITCHES[word]] = True
        elif word in _TOLD and pending:
            pending.pop(0)
        elif word in _LLAMA_FLAGS and pending and not _is_flag(pending[0]):
            options[_LLAMA_FLAGS[word]] = _typed(pending.pop(0))
        else:
            # An old -fa has no value, and means "on".
            rest.append(word)
    for key in _FILES:
        if key in options:
            found = _on_host(str(options[key]), folders)
            if found is None:
                return None
            options[key] = found
    if "model" not in options:
        return None
    if variant == "cpu" and options.get("gpu_layers") not in (None, 0):
        del options["gpu_layers"]  # That build has none, and says so in its log.
    if rest:
        options["args"] = rest
    return options


def vllm(image: str, words: list[str], folders: Mapping[str, str]) -> dict[str, Any] | None:
    """Return vLLM's command as options of the type `vllm`; None: they do not say it.

    What is served by what name is said by the service's own names then.
    """
    if not _VLLM.fullmatch(image):
        return None
    options: dict[str, Any] = {}
    rest: list[str] = []
    pending = [part for word in words for part in _parted(word, _VLLM_FLAGS)]
    if pending and not _is_flag(pending[0]):
        options["model"] = pending.pop(0)
    while pending:
        word = pending.pop(0)
        value = pending[0] if pending and not _is_flag(pending[0]) else None
        if word in _VLLM_SWITCHES and value is None:
            options[_VLLM_SWITCHES[word]] = True
        elif word in (*_TOLD, "--served-model-name") and value is not None:
            pending.pop(0)
            if pending and not _is_flag(pending[0]):
                return None  # Several names; only the whole command says that.
        elif word in _VLLM_FLAGS and value is not None:
            options[_VLLM_FLAGS[word]] = _amount(pending.pop(0))
        else:
            rest.append(word)
    if "tool_call_parser" in options and "--enable-auto-tool-choice" in rest:
        rest.remove("--enable-auto-tool-choice")  # The template says so.
    model = options.get("model")
    if not isinstance(model, str) or "${env:" in model:
        return None
    if model.startswith(("/", ".")):
        model = _on_host(model, folders)
        if model is None:
            return None
    options = {"model": model, **{key: one for key, one in options.items() if key != "model"}}
    return options | ({"args": rest} if rest else {})


def _amount(text: str) -> Any:
    return float(text) if re.fullmatch(r"\d?\.\d+", text) else _typed(text)


def _parted(word: str, flags: Mapping[str, str]) -> list[str]:
    name, separator, value = word.partition("=")
    return [name, value] if separator and name in (*flags, *_TOLD, *_NAMES) else [word]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit()


def _typed(text: str) -> Any:
    if text in ("on", "off"):
        return text == "on"
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _on_host(path: str, folders: Mapping[str, str]) -> str | None:
    for target, source in folders.items():
        if path == target:
            return source
        if path.startswith(f"{target.rstrip('/')}/"):
            return f"{source.rstrip('/')}/{path[len(target.rstrip('/')) + 1 :]}"
    return None
