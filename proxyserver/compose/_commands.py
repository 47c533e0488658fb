"""From the commands of known images to options of the types that run the same servers.

An option is mostly called as its flag is, so what a type has options for is read from the type;
here is what is called otherwise.  A value that an option does not take stays an argument, and a
command that cannot be said by options stays a command.
"""

import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, TypeAlias, get_args

import attrs

from proxyserver.templates import TEMPLATES

Reader: TypeAlias = Callable[[Any, Any], Any]
"""Reads a value as a type; raises if it cannot."""

NOT_FLAGS = frozenset({"model", "args", "variant", "binary", "folder", "hf_token", "sleep_mode"})
"""Options that are no flags of the server, or that a command says in another way."""
_TOLD = ("--host", "--port")
_HUB_NAMES = ("--served-model-name",)


@attrs.frozen
class Grammar:
    """How the command of one kind of image is read."""

    type: str
    image: re.Pattern[str]
    """Its group `variant` is the option, where the type has variants."""
    model: tuple[str, ...] = ()
    """Flags of the option `model`; empty: its servers are told of no model."""
    flags: Mapping[str, str] = attrs.field(factory=dict)
    """Further flags, by what their option is called."""
    switches: Mapping[str, str] = attrs.field(factory=dict)
    told: tuple[str, ...] = _TOLD
    """Flags with a value that the type says by itself."""
    heads: tuple[tuple[str, ...], ...] = ((),)
    """With which words the command may begin."""
    is_first: bool = False
    """The model may stand first, without a flag."""
    is_file: bool = False
    """The model is a file of this machine, no name at a hub."""
    files: tuple[str, ...] = ()
    """Other options that are files."""
    many: bool = False
    """It may have several models."""


def _image(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:docker\.io/)?(?:{pattern})")


GRAMMARS = (
    Grammar(
        "llamacpp",
        _image(
            r"ghcr\.io/gg(?:ml-org|erganov)/llama\.cpp:server(?:-(?P<variant>cuda|rocm|vulkan))?"
            r"[0-9]*(?:-b\d+)?"
        ),
        model=("-m", "--model"),
        flags={
            "-c": "ctx",
            "--ctx-size": "ctx",
            "-np": "parallel",
            "-ngl": "gpu_layers",
            "--n-gpu-layers": "gpu_layers",
            "-fa": "flash_attention",
            "--flash-attn": "flash_attention",
            "-ctk": "cache_type_k",
            "-ctv": "cache_type_v",
            "-t": "threads",
            "-mm": "mmproj",
        },
        switches={"--embeddings": "embedding", "--reranking": "rerank"},
        is_file=True,
        files=("mmproj",),
    ),
    Grammar(
        "vllm",
        _image(r"vllm/vllm-openai(?::.*)?"),
        model=("--model",),
        flags={"-q": "quantization", "-tp": "tensor_parallel_size"},
        told=(*_TOLD, *_HUB_NAMES),
        is_first=True,
    ),
    Grammar(
        "infinity",
        _image(r"michaelf34/infinity(?::(?:latest|[0-9.]+)(?:-(?P<variant>cpu))?)?"),
        model=("--model-id",),
        told=(*_TOLD, "--url-prefix"),
        heads=(("v2",),),
        many=True,
    ),
    Grammar(
        "tei",
        _image(r"ghcr\.io/huggingface/text-embeddings-inference:(?P<variant>cpu)?-?[a-z0-9.-]+"),
        model=("--model-id",),
        told=("--hostname", "--port", "-p"),
    ),
    Grammar(
        "sglang",
        _image(r"lmsysorg/sglang(?::.*)?"),
        model=("--model-path", "--model"),
        flags={"--tp": "tp_size", "--tensor-parallel-size": "tp_size"},
        told=(*_TOLD, *_HUB_NAMES),
        heads=(("python3", "-m", "sglang.launch_server"), ("sglang", "serve")),
    ),
    Grammar(
        "lmdeploy",
        _image(r"openmmlab/lmdeploy(?::.*)?"),
        told=("--server-name", "--server-port", "--model-name"),
        heads=(("lmdeploy", "serve", "api_server"),),
        is_first=True,
    ),
    Grammar(
        "ollama",
        _image(r"ollama/ollama(?::(?:(?P<variant>rocm)|.*))?"),
        heads=(("serve",), ()),
    ),
    Grammar(
        "whispercpp",
        _image(r"ghcr\.io/ggml-org/whisper\.cpp:main(?:-(?P<variant>cuda))?"),
        model=("-m", "--model"),
        flags={"-l": "language", "-t": "threads"},
        told=(*_TOLD, "--inference-path"),
        heads=(("whisper-server",), ("./build/bin/whisper-server",)),
        is_file=True,
    ),
    Grammar(
        "sdcpp",
        _image(r"ghcr\.io/leejet/stable-diffusion\.cpp:.*"),
        model=("-m", "--model"),
        flags={"-t": "threads"},
        told=("--listen-ip", "--listen-port"),
        is_file=True,
    ),
    Grammar("speaches", _image(r"ghcr\.io/speaches-ai/speaches:[a-z0-9.]+-(?P<variant>cpu)?.*")),
    Grammar("kokoro", _image(r"ghcr\.io/remsky/kokoro-fastapi-(?:(?P<variant>cpu)|gpu)(?::.*)?")),
    Grammar(
        "docling",
        _image(r"quay\.io/docling-project/docling-serve[a-z0-9-]*(?::.*)?"),
        heads=(("docling-serve", "run"), ()),
    ),
    Grammar(
        "comfyui",
        _image(
            r"(?:yanwk/comfyui-boot|ghcr\.io/ai-dock/comfyui|mmartial/comfyui-nvidia-docker)(?::.*)?"
        ),
    ),
)
SAYS: Mapping[str, tuple[str, ...]] = {
    "ollama": ("OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_HOST"),
    "speaches": ("STT_MODEL_TTL", "TTS_MODEL_TTL"),
}
"""Variables that a type sets: when models leave is the proxy's to decide."""
DEFAULTS = {"llamacpp": "cpu", "whispercpp": "cpu"}
"""The variant of an image whose name has none, where that is not the type's own default."""


def options_of(
    image: str, words: list[str], folders: Mapping[str, str], read: Reader
) -> tuple[str, dict[str, Any]] | None:
    """Return type and options that say the same as an image with a command; None: none do.

    Args:
        image: its name.
        words: the command, without the entrypoint.
        folders: where what the container sees is on the host: targets of bind mounts to sources.
        read: reads a value as the type of an option.
    """
    for grammar in GRAMMARS:
        if (match := grammar.image.fullmatch(image)) is None:
            continue
        variant = match.groupdict().get("variant") or DEFAULTS.get(grammar.type)
        found = _Command(grammar, folders, read).options(words)
        if found is None:
            return None
        if variant == "cpu" and found.get("gpu_layers") not in (None, 0):
            del found["gpu_layers"]  # That build has none, and says so in its log.
        return grammar.type, ({"variant": variant} if variant else {}) | found
    return None


@attrs.define
class _Command:
    """Reads one command."""

    grammar: Grammar
    folders: Mapping[str, str]
    read: Reader
    types: dict[str, Any] = attrs.field(init=False)
    flags: dict[str, str] = attrs.field(init=False)
    switches: dict[str, tuple[str, bool]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        grammar = self.grammar
        fields = attrs.fields(TEMPLATES[grammar.type].options)
        self.types = {field.name: field.type for field in fields}
        self.flags, self.switches = dict.fromkeys(grammar.model, "model"), {}
        for option, type_ in self.types.items():
            name = option.replace("_", "-")
            if option in NOT_FLAGS:
                continue
            if set(get_args(type_) or (type_,)) <= {bool, NoneType}:
                self.switches[f"--{name}"] = (option, True)
                self.switches[f"--no-{name}"] = (option, False)
            else:
                self.flags[f"--{name}"] = option
        self.flags |= grammar.flags
        self.switches |= {flag: (option, True) for flag, option in grammar.switches.items()}

    def options(self, words: list[str]) -> dict[str, Any] | None:
        """Return what the command says; None: options cannot say it."""
        grammar = self.grammar
        if len(words) == 1 and " " in words[0]:
            words = words[0].split()  # For an entrypoint that is a shell.
        head = next((one for one in grammar.heads if tuple(words[: len(one)]) == one), None)
        if head is None and words:
            return None
        pending = [part for word in words[len(head or ()) :] for part in self.parted(word)]
        models: list[str] = []
        if grammar.is_first and pending and not _is_flag(pending[0]):
            models.append(pending.pop(0))
        options: dict[str, Any] = {}
        rest: list[str] = []
        while pending:
            word = pending.pop(0)
            value = pending[0] if pending and not _is_flag(pending[0]) else None
            if word in self.switches and value is None:
                option, options[option] = self.switches[word]
            elif word in grammar.told and value is not None:
                pending.pop(0)
                if pending and not _is_flag(pending[0]):
                    return None  # Several names; only the whole command says that.
            elif word in self.flags and value is not None:
                option, text = self.flags[word], pending.pop(0)
                if option == "model":
                    models.append(text)
                elif option in options:
                    return None
                elif (known := self.value(option, text)) is None:
                    rest += [word, text]
                else:
                    options[option] = known
            else:
                rest.append(word)
        return self.whole(models, options, rest)

    def whole(
        self, models: list[str], options: dict[str, Any], rest: list[str]
    ) -> dict[str, Any] | None:
        """Put together what was read, if it is enough, and nothing of it is out of reach."""
        grammar = self.grammar
        if "tool_call_parser" in options and "--enable-auto-tool-choice" in rest:
            rest.remove("--enable-auto-tool-choice")  # The template says so.
        wanted = bool(grammar.model or grammar.is_first)
        if wanted and (not models or (len(models) > 1 and not grammar.many)):
            return None
        places = [self.place(model) for model in models]
        others = {key: self.place(str(options[key])) for key in grammar.files if key in options}
        if None in places or None in others.values():
            return None
        said: dict[str, Any] = {}
        if models:
            said["model"] = places if len(places) > 1 else places[0]
        if rest and "args" not in self.types:
            return None
        return said | options | others | ({"args": rest} if rest else {})

    def place(self, model: str) -> str | None:
        """Return what a model is called here: a path of the host, or a name at the hub."""
        if "${env:" in model:
            return None
        if not self.grammar.is_file and not model.startswith(("/", ".")):
            return model
        return _on_host(model, self.folders)

    def value(self, option: str, text: str) -> Any:
        """Return a text as a value that the option takes; None: it takes none like that."""
        for one in (_typed(text), text):
            try:
                self.read(one, self.types[option])
            except Exception:  # Whatever it is that a reader says no with.
                continue
            return one
        return None

    def parted(self, word: str) -> list[str]:
        name, separator, value = word.partition("=")
        known = separator and (name in self.flags or name in self.grammar.told)
        return [name, value] if known else [word]


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit()


def _typed(text: str) -> Any:
    if text in ("on", "off"):
        return text == "on"
    if re.fullmatch(r"\d?\.\d+", text):
        return float(text)
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _on_host(path: str, folders: Mapping[str, str]) -> str | None:
    for target, source in folders.items():
        if path == target:
            return source
        if path.startswith(f"{target.rstrip('/')}/"):
            return f"{source.rstrip('/')}/{path[len(target.rstrip('/')) + 1 :]}"
    return None
