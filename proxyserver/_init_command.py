"""The command `aiproxy config init`: a first configuration, from what the machine has."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from ._command import FAILED, USAGE, CommandFailed, Json, fail, print_json

if TYPE_CHECKING:
    from .first import Model, Survey

T = TypeVar("T")
TRIES_MAX = 3
"""How often an answer that means nothing is asked for again."""


def init(
    file: Annotated[Path, Parameter(help="What to write.")] = Path("aiproxy.yaml"),
    /,
    *,
    models: Annotated[
        tuple[Path, ...],
        Parameter(
            help="A folder with GGUF files, in place of the usual ones; may be repeated.",
            negative=(),
        ),
    ] = (),
    yes: Annotated[
        bool, Parameter(name=("--yes", "-y"), negative=(), help="Ask nothing: take all there is.")
    ] = False,
    json: Json = False,
) -> None:
    """Look at GPUs, images and models, and write a configuration; never over another."""
    from .first import models_in, survey, usual_folders, written
    from .first._write import SCHEMA

    asks = not (yes or json) and sys.stdin.isatty() and sys.stdout.isatty()
    _check_target(file)
    for folder in models:
        if not folder.is_dir():
            fail(f"--models {folder}: there is no such folder", USAGE)
    machine = survey(os.environ)
    if not json:
        _show(machine)
    folders = list(models or usual_folders(os.environ))
    if asks and not models:
        folders += _further_folder(folders)
    found = models_in(folders, machine)
    for said in found.left_out:
        print(f"left out: {said}", file=sys.stderr)
    chosen: Sequence[Model] = _chosen(found.models) if asks and found.models else found.models
    home = Path(os.environ.get("HOME") or Path.home())
    schema = file.with_name(SCHEMA)
    _write_new(file, written(machine, chosen, file, home))
    _write_schema(schema)
    _check(file)
    if json:
        print_json({"file": str(file), "schema": str(schema), "left_out": found.left_out})
        return
    looked = ", ".join(map(str, folders)) or "none of the usual folders is there"
    print(f"models as services: {len(chosen)} of {len(found.models)} found (in: {looked})")
    print(f"wrote {file}, and {schema} for your editor")
    print("next: read it, then `aiproxy config check` and `aiproxy serve`")


def _check_target(file: Path) -> None:
    """Fail where nothing can be written.

    Raises:
        CommandFailed: the file is there, or its folder is not.
    """
    if file.exists() or file.is_symlink():
        fail(f"{file} is there already, and is left as it is: name another file, or move it away")
    if not file.parent.is_dir():
        fail(f"there is no folder {file.parent}: make it first")


def _show(machine: "Survey") -> None:
    from ._console import size

    gpus = ", ".join(f"{gpu} {size(memory)}" for gpu, memory in machine.gpus.items())
    print(f"GPUs: {gpus or 'none: ' + machine.no_gpus}")
    print(f"main memory: {size(machine.ram)}")
    images = f"answers, with {len(machine.images)} images" if machine.engine else machine.no_engine
    print(f"container engine: {images}")
    print(f"llama-server on PATH: {'yes' if machine.llama_server else 'no'}")


def _further_folder(known: Sequence[Path]) -> list[Path]:
    there = ", ".join(map(str, known)) or "none of the usual ones is there"
    print(f"folders with models: {there}")

    def read(answer: str) -> list[Path] | None:
        folder = Path(answer).expanduser()
        return [] if not answer else [folder] if folder.is_dir() else None

    return _asked("a further folder with models (empty: none): ", read, "there is no such folder")


def _chosen(models: Sequence["Model"]) -> Sequence["Model"]:
    """Ask which of them shall be services."""
    from ._console import print_table, size

    rows: list[tuple[str, ...]] = [("", "SERVICE", "WEIGHTS", "TAKES", "CTX", "FILE")]
    for number, model in enumerate(models, 1):
        takes = "?" if model.needs is None else size(model.needs)
        takes += "" if model.fits else " (too much)"
        ctx = "?" if model.ctx is None else str(model.ctx)
        rows.append((str(number), model.id, size(model.size), takes, ctx, str(model.path)))
    print_table(rows)
    numbers = _asked(
        "which shall be services? 1,3-5, all or none [all]: ",
        lambda answer: numbers_of(answer, len(models)),
        f"write numbers from 1 to {len(models)}, all or none",
    )
    return [models[number - 1] for number in numbers]


def _asked(question: str, read: Callable[[str], T | None], help: str) -> T:
    """Ask until the answer means something, a few times.

    Raises:
        CommandFailed: it never does, or there is none.
    """
    for _ in range(TRIES_MAX):
        try:
            answer = input(question).strip()
        except EOFError:
            print()
            break
        meant = read(answer)
        if meant is not None:
            return meant
        print(help)
    said = "aiproxy: there was no answer that means anything; `--yes` takes all that is found"
    raise CommandFailed(FAILED, said)


def numbers_of(answer: str, most: int) -> list[int] | None:
    """Return the numbers that an answer means, in order; None: it means nothing.

    >>> numbers_of("1, 3-4", 5), numbers_of("none", 5), numbers_of("9", 5)
    ([1, 3, 4], [], None)
    """
    words = answer.lower().replace(",", " ").split()
    if words in ([], ["all"]):
        return list(range(1, most + 1))
    if words == ["none"]:
        return []
    found: set[int] = set()
    for word in words:
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", word, re.ASCII)
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= most:
            return None
        found.update(range(first, last + 1))
    return sorted(found)


def _write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        CommandFailed: it is there by now, or cannot be written.
    """
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror}")


def _write_schema(path: Path) -> None:
    """Write what editors want, unless it is there."""
    import json

    from .settings.schema import schema_of

    if not path.exists():
        _write_new(path, json.dumps(schema_of(None), indent=1) + "\n")


def _check(file: Path) -> None:
    """Read what was written, as the daemon will.

    Raises:
        CommandFailed: this machine has something against it.
    """
    from .settings import SettingsError, load

    try:
        load(file, os.environ)
    except SettingsError as error:
        said = f"{error}\naiproxy: {file} was written, but has to be corrected there"
        raise CommandFailed(FAILED, said) from None
