"""The models in a folder: every GGUF of it that is whole, with the projector beside it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from ._files import check_files
from ._head import GgufError

MODELS_MAX = 256
"""More files than that in one folder are somebody's archive: the rest is told of, and left out."""
FILES_MAX = 20_000
"""So many names are looked at; a folder of models with more is none."""
DEPTH_MAX = 8
_PART = re.compile(r"-(\d{5})-of-\d{5}$")


@attrs.frozen
class FolderModel:
    """One model of a folder."""

    name: str
    """The name of its file, without `.gguf` and the number of the part."""
    path: Path
    """Of a split model, the first part."""
    mmproj: Path | None = None
    """What lets it see: the only projector in its folder, if there is one."""


@attrs.frozen
class Folder:
    """What there is in a folder."""

    models: tuple[FolderModel, ...]
    """In the order of their names."""
    left_out: tuple[str, ...] = ()
    """What could have been a model and is none, and why."""


def gguf_files(folder: Path) -> Iterator[Path]:
    """Yield all GGUF files in a folder and below it; hidden ones are somebody's scratch.

    Links to files are followed (the hub's cache is made of them), links to folders are not.
    """
    seen = 0
    for at, folders, files in os.walk(folder):
        depth = len(Path(at).relative_to(folder).parts)
        keep = [one for one in sorted(folders) if not one.startswith(".")]
        folders[:] = keep if depth < DEPTH_MAX else []
        for file in sorted(files):
            seen += 1
            if seen > FILES_MAX:
                return
            if file.lower().endswith(".gguf") and not file.startswith("."):
                yield Path(at, file)


def models_in(folder: Path) -> Folder:
    """Return the models of a folder: those whose files are whole.

    A file that is shorter than its head says is on its way, or broken off.  Of two files with one
    name the first by path is taken.
    """
    files = list(gguf_files(folder))
    projectors: dict[Path, list[Path]] = {}
    for file in files:
        if _is_projector(file):
            projectors.setdefault(file.parent, []).append(file)
    models: dict[str, FolderModel] = {}
    left_out = []
    for file in files:
        part = _PART.search(file.stem)
        if _is_projector(file) or (part is not None and int(part[1]) != 1):
            continue
        name = _PART.sub("", file.stem)
        problem = _problem(file)
        if problem is None and name in models:
            problem = f"has the name of {models[name].path}"
        if problem is None and len(models) >= MODELS_MAX:
            problem = f"is more than the {MODELS_MAX} models that are looked at"
        if problem is not None:
            left_out.append(f"{file}: {problem}")
            continue
        beside = projectors.get(file.parent, [])
        models[name] = FolderModel(name, file, beside[0] if len(beside) == 1 else None)
    ordered = (models[name] for name in sorted(models))
    return Folder(tuple(ordered), tuple(left_out))


def _is_projector(file: Path) -> bool:
    return "mmproj" in file.name.lower()


def _problem(first: Path) -> str | None:
    """Return why a model cannot be offered; None: it can."""
    try:
        check_files(first)
    except GgufError as error:
        return str(error).removeprefix(f"{first}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None
