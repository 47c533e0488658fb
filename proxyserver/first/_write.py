"""From what a machine has to a commented configuration."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from proxyserver._amounts import in_gib
from proxyserver.templates import TEMPLATES
from proxyserver.templates._simple import Simple
from proxyserver.templates.infinity import IMAGE as INFINITY
from proxyserver.templates.llamacpp import IMAGE as LLAMACPP
from proxyserver.templates.tabby import IMAGE as TABBY
from proxyserver.templates.vllm import IMAGES as VLLM

from ._survey import Model, Survey

SCHEMA = "aiproxy.schema.json"
NEEDS_NOTHING = ("ollama", "speaches", "kokoro", "docling")
"""Types whose services need no more than to be named."""
_TAGS = {"cuda": "server-cuda", "rocm": "server-rocm", "cpu": "server"}


def written(survey: Survey, models: Iterable[Model], file: Path, home: Path) -> str:
    """Return the text of a configuration.

    Args:
        survey: what there is.
        models: those that shall be services.
        file: where the text will stand, at which relative paths start.
        home: the folder that `~` stands for.
    """
    return "\n".join(_lines(survey, tuple(models), file, home)).rstrip("\n") + "\n"


def _lines(survey: Survey, models: tuple[Model, ...], file: Path, home: Path) -> Iterator[str]:
    variant = "cpu" if not survey.gpus else "rocm" if survey.is_amd else "cuda"
    in_containers = survey.engine or not survey.llama_server
    yield f"# yaml-language-server: $schema={SCHEMA}"
    yield "# What aiproxy runs on this machine, as `aiproxy config init` found it."
    yield "# After a change: `aiproxy config check` tells all that is wrong with it."
    yield "# All keys: `aiproxy config schema`, or docs/reference/configuration.md."
    yield ""
    yield "server:"
    yield "  # host: 127.0.0.1"
    yield "  # port: 8787"
    yield from _devices(survey)
    yield "  # idle_s: auto # stop what nobody wants; 10m, or never"
    yield "  # wait_s: 10m # how long a request may wait for its service"
    yield from _runtime(survey, models, variant, in_containers)
    yield ""
    services = [
        *(_service(model, variant, in_containers, file, home) for model in models),
        *(
            _of_image(image, type_, variant)
            for image, type_ in _typed(survey.images)
            if type_ not in (model.id for model in models)
        ),
    ]
    if not any(line and not line.startswith("  #") for lines in services for line in lines):
        yield "services: {}"
        yield "# For instance, in place of the {} above:"
        services.append(_example(variant, in_containers))
    else:
        yield "services:"
    for lines in services:
        yield from lines


def _devices(survey: Survey) -> Iterator[str]:
    if survey.gpus:
        yield "  # The GPUs are found when the daemon starts.  Now there are:"
        for gpu, memory in survey.gpus.items():
            yield f"  #   {gpu}: {in_gib(memory)}"
        yield "  # headroom: 512MiB # kept free on each; more for the one that draws your desktop"
    else:
        yield f"  # No GPU was found: {survey.no_gpus or 'the driver has none'}."
        yield "  # Services run on the CPU."
    yield f"  # ram: {in_gib(survey.ram)} # all there is; less, to keep some for yourself"


def _runtime(
    survey: Survey, models: tuple[Model, ...], variant: str, in_containers: bool
) -> Iterator[str]:
    if not in_containers:
        yield "  runtime: process # llama-server is on PATH, and no container engine answers"
        return
    if not survey.engine:
        yield "  # Neither a container engine nor llama-server was found.  Install one of them:"
        yield "  # `aiproxy doctor` says how.  With llama-server on PATH, say `process` here."
    yield "  runtime: docker"
    image = f"{LLAMACPP}:{_TAGS[variant]}"
    if models and image not in survey.images:
        yield f"  # {image} is not here yet: the first request"
        yield "  # that needs it fetches it, or you do: `aiproxy pull`."
        yield "  pull: missing"


def _service(
    model: Model, variant: str, in_containers: bool, file: Path, home: Path
) -> tuple[str, ...]:
    return tuple(_service_lines(model, variant, in_containers, file, home))


def _service_lines(
    model: Model, variant: str, in_containers: bool, file: Path, home: Path
) -> Iterator[str]:
    where = "of the GPU" if variant != "cpu" else "of main memory"
    if model.needs is None:
        yield f"  # {in_gib(model.size)} of weights; what it takes beside is not known: watch it."
    elif model.fits:
        yield f"  # Takes about {in_gib(model.needs)} {where}, by estimate, with this context."
    else:
        yield f"  # Would take about {in_gib(model.needs)} {where}, which is more than there is."
        yield "  # llama.cpp leaves the rest in main memory, and is slower for it."
    yield f"  {_text(model.id)}:"
    yield "    type: llamacpp"
    yield f"    model: {_path(model.path, file, home)}"
    if model.projector is not None:
        yield f"    mmproj: {_path(model.projector, file, home)} # it sees or hears with this"
    if model.ctx is not None:
        yield f"    ctx: {model.ctx} # tokens, over all requests at once"
    if variant == "cpu":
        yield "    gpu_layers: 0"
    elif variant == "rocm" and in_containers:
        yield "    variant: rocm"
    if model.embedding:
        yield "    embedding: true"
    if model.rerank:
        yield "    rerank: true"
    if not (model.embedding or model.rerank):
        yield "    # aliases: [gpt-4o] # further names for `model` in requests"
    yield ""


def _typed(images: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the images whose servers we know, with the type, once for each type."""
    types = {INFINITY: "infinity", TABBY: "tabby"}
    types |= {_repository(image): "vllm" for image in VLLM.values()}
    for name, template in TEMPLATES.items():
        if isinstance(template, Simple):
            types |= {_repository(image): name for image in template.images.values() if image}
    seen = set()
    for image in images:
        type_ = types.get(_repository(image))
        if type_ is not None and type_ not in seen:
            seen.add(type_)
            yield image, type_


def _repository(image: str) -> str:
    head, colon, tag = image.rpartition(":")
    return head if colon and "/" not in tag else image


def _of_image(image: str, type_: str, variant: str) -> tuple[str, ...]:
    """Return a service of an image that is here; a comment, where it needs to know a model."""
    lines = [f"  {type_}:", f"    type: {type_}"]
    template = TEMPLATES[type_]
    images: Mapping[str, str] = template.images if isinstance(template, Simple) else {}
    if len(images) > 1 and variant in images and variant != next(iter(images)):
        lines.append(f"    variant: {variant}")
    lines.append(f"    container: {{image: {_text(image)}}}")
    if type_ not in NEEDS_NOTHING:
        lines.append("    model: NAME/OF-THE-MODEL")
        said = "  # Its image is here.  Name a model and take off the marks of comment:"
        return (said, *(f"  # {line[2:]}" for line in lines), "")
    said = "  # Its image is here.  What it takes of a GPU is not estimated: declare it."
    lines.append("    # memory: {vram: 4GiB, ram: 1GiB}")
    return (said, *lines, "")


def _example(variant: str, in_containers: bool) -> tuple[str, ...]:
    lines = ["  my-model:", "    type: llamacpp", "    model: ./models/my-model.gguf"]
    if variant == "cpu":
        lines.append("    gpu_layers: 0")
    elif variant == "rocm" and in_containers:
        lines.append("    variant: rocm")
    return tuple(f"# {line}" for line in lines)


def _path(path: Path, file: Path, home: Path) -> str:
    """Write a path as people do: from the file's folder, from home, or from the root."""
    # Not resolved: a link may be meant to lead elsewhere some day.
    whole = path.absolute()
    folder = file.absolute().parent
    if whole.is_relative_to(folder):
        return _text(f"./{whole.relative_to(folder)}")
    if whole.is_relative_to(home):
        return _text(f"~/{whole.relative_to(home)}")
    return _text(str(whole))


def _text(text: str) -> str:
    """Write a text as a YAML scalar; quoted only where it must be."""
    text = text.replace("$", "$$")
    plain = all(character.isalnum() or character in "./_-~" for character in text)
    starts_well = text[:1].isalpha() or text.startswith(("./", "~/", "/"))
    if plain and starts_well and text.lower() not in ("null", "true", "false", "~"):
        return text
    return json.dumps(text, ensure_ascii=False)
