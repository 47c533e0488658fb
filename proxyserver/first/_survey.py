"""What a machine has for a first configuration: GPUs, an engine with images, programs, models."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import docker
import requests
from docker.errors import DockerException

from proxycore import DeviceId
from proxyserver.doctor import ENGINE_S, SOCKET, why_no_engine
from proxyserver.gauges import GaugeFault, amd
from proxyserver.gauges.gpus import find_gpus
from proxyserver.gauges.host import ram_total
from proxyserver.gguf import GgufError, NotModelled, Setting, estimate, read_model
from proxyserver.gguf import Model as GgufModel

ENTRIES_MAX = 20_000
"""A folder with more than this is no folder of models."""
DEPTH_MAX = 6
MODELS_MAX = 100
CONTEXTS = (32768, 16384, 8192, 4096)
"""Tokens of context, the most that fits is taken: as they were trained, models take too much."""
SHARE_OF_GPU = 0.9
SHARE_OF_RAM = 0.5

_PART = re.compile(r"-(\d{5})-of-\d{5}$")
_QUANTISATION = re.compile(r"[-._](?:i?q\d\w*|bf16|f16|f32|mxfp4|ud)(?=$|[-._])", re.IGNORECASE)
_ENCODERS = ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert")


@attrs.frozen
class Model:
    """A GGUF file, and how it would be run here."""

    path: Path
    id: str
    """What its service can be called."""
    size: int
    """Bytes of its weights."""
    ctx: int | None = None
    """Tokens of context that fit; None: nobody knows, or all that it was trained for."""
    needs: int | None = None
    """Bytes that it takes with so much context; None: nobody knows."""
    fits: bool = True
    """Into the largest GPU, or main memory where there is none."""
    embedding: bool = False
    rerank: bool = False
    projector: Path | None = None
    """What lies beside it, and lets it see or hear."""


@attrs.frozen
class Found:
    """The models of some folders."""

    models: tuple[Model, ...]
    left_out: tuple[str, ...] = ()
    """What is no use, and why."""


@attrs.frozen
class Survey:
    """What there is besides models."""

    gpus: Mapping[DeviceId, int]
    """With the memory of each."""
    no_gpus: str = ""
    """Why there is none."""
    is_amd: bool = False
    ram: int = 0
    engine: bool = False
    """A container engine answers."""
    no_engine: str = ""
    images: tuple[str, ...] = ()
    """What the engine has."""
    llama_server: bool = False
    """llama.cpp's server is on PATH."""

    @property
    def room(self) -> int:
        """The memory that one model can have."""
        if self.gpus:
            return int(max(self.gpus.values()) * SHARE_OF_GPU)
        return int(self.ram * SHARE_OF_RAM)


def survey(environ: Mapping[str, str]) -> Survey:
    """Look at the machine; takes some seconds at most."""
    gpus: Mapping[DeviceId, int] = {}
    no_gpus = ""
    try:
        gpus = find_gpus()
    except GaugeFault as fault:
        no_gpus = str(fault)
    images, no_engine = _images(environ.get("DOCKER_HOST"))
    return Survey(
        gpus,
        no_gpus,
        is_amd=bool(gpus) and gpus == amd.find_gpus(),
        ram=ram_total(),
        engine=images is not None,
        no_engine=no_engine,
        images=tuple(images or ()),
        llama_server=shutil.which("llama-server", path=environ.get("PATH")) is not None,
    )


def _images(host: str | None) -> tuple[list[str] | None, str]:
    """Return the names of all images, or None and why the engine does not tell."""
    url = host or SOCKET
    try:
        with closing(docker.DockerClient(base_url=url, timeout=ENGINE_S)) as client:
            there: list[dict[str, Any]] = client.api.images()
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        return None, why_no_engine(url, error)[0]
    names = {name for image in there for name in image.get("RepoTags") or ()}
    return sorted(name for name in names if "<none>" not in name), ""


def usual_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders where people and programs keep models, as far as they are there."""
    home = Path(environ.get("HOME") or Path.home())
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub = Path(environ.get("HF_HOME") or cache / "huggingface") / "hub"
    lm_studio = (home / ".lmstudio/models", cache / "lm-studio/models")
    for folder in (Path("models"), home / "models", cache / "llama.cpp", hub, *lm_studio):
        if folder.is_dir():
            yield folder


def models_in(folders: Iterable[Path], survey: Survey) -> Found:
    """Look for models in folders, and at what each would take here.

    Only heads of files are read; what cannot be read is told and left out.
    """
    models: dict[Path, Model] = {}
    left_out: list[str] = []
    projectors: dict[Path, list[Path]] = {}
    files = [file for folder in folders for file in _ggufs(folder, left_out)]
    for file in files:
        if "mmproj" in file.name.lower():
            projectors.setdefault(file.parent, []).append(file)
    taken: set[str] = set()
    for file in files:
        number = _PART.search(file.stem)
        real = file.resolve()
        if "mmproj" in file.name.lower() or (number and int(number[1]) != 1) or real in models:
            continue
        if len(models) == MODELS_MAX:
            left_out.append(f"more than {MODELS_MAX} models: the rest is left out")
            break
        try:
            head = read_model(file)
        except GgufError as error:
            left_out.append(str(error))
            continue
        except OSError as error:
            left_out.append(f"{file}: {error.strerror}")
            continue
        beside = projectors.get(file.parent, [])
        model = attrs.evolve(
            _judged(file, head, survey), projector=beside[0] if len(beside) == 1 else None
        )
        models[real] = attrs.evolve(model, id=_free(model.id, taken))
    return Found(tuple(models.values()), tuple(left_out))


def _ggufs(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """Yield the GGUF files below a folder, near ones first, in the order of their names."""
    seen = 0
    level = [folder]
    for _ in range(DEPTH_MAX):
        below: list[Path] = []
        for one in level:
            try:
                entries = sorted(os.scandir(one), key=lambda entry: entry.name)
            except OSError as error:
                left_out.append(f"{one}: {error.strerror}")
                continue
            seen += len(entries)
            if seen > ENTRIES_MAX:
                left_out.append(f"{folder}: more than {ENTRIES_MAX} files: name a smaller folder")
                return
            for entry in entries:
                # Links to files are followed, as the hub's cache is made of them; to folders not.
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif entry.name.lower().endswith(".gguf"):
                    if entry.path.isprintable():
                        yield Path(entry.path)
                    else:
                        left_out.append(f"{entry.path!r} cannot be written into a file")
        level = below


def _judged(file: Path, head: GgufModel, survey: Survey) -> Model:
    """Tell how a model would be run: with the largest of the usual contexts that fits."""
    name = file.name.lower()
    rerank = "rerank" in name
    embedding = not rerank and (head.architecture in _ENCODERS or "embed" in name)
    result = Model(
        file, _id(file.stem), head.size, embedding=embedding, rerank=rerank
    )  # fmt: skip
    layers = None if survey.gpus else 0
    contexts = [ctx for ctx in CONTEXTS if ctx <= head.context_length] or [head.context_length]
    for ctx in contexts:
        try:
            found = estimate(head, Setting(ctx=ctx, gpu_layers=layers))
        except NotModelled:
            fits = head.size <= survey.room
            return attrs.evolve(result, ctx=min(contexts[-1], 8192), fits=fits)
        needs = found.vram.total if survey.gpus else found.ram.total
        result = attrs.evolve(result, ctx=ctx, needs=needs, fits=needs <= survey.room)
        if result.fits:
            break
    return result


def _id(stem: str) -> str:
    """Return a good name of a service: without parts and quantisation, in small letters."""
    name = _QUANTISATION.sub("", _PART.sub("", stem))
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:50].rstrip("-._")
    return name or "model"


def _free(name: str, taken: set[str]) -> str:
    """Return a name that nobody has."""
    result, number = name, 2
    while result in taken:
        result, number = f"{name}-{number}", number + 1
    taken.add(result)
    return result
