"""What is wrong with a model's files, told before the server starts, or when its log does not."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from proxycore import Cause
from proxyserver.gguf import GgufError, check_files

FETCH = "fetch it again, or take a newer llama.cpp if it is too new for ours"


def faults(files: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield the options whose files cannot be used, and why: no server but may know better."""
    for option, path in files.items():
        if path is None:
            continue
        try:
            check_files(Path(path))
        except GgufError as error:
            yield option, str(error)
        except OSError as error:
            yield option, f"{path}: {error.strerror}"


def examine(files: Mapping[str, str | None]) -> Cause | None:
    """Tell why a server may have failed that died without a word of it."""
    for option, said in faults(files):
        is_there = Path(files[option] or "").exists()
        kind, advice = ("model_corrupt", FETCH) if is_there else ("model_missing", "put it back")
        return Cause(kind, f"`{option}`: {said}: {advice}", heals=False)
    return None
