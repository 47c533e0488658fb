"""What a configuration names on the disk or at the model hub, and whether it is there."""

import re
from pathlib import Path
from typing import Any

from ._plain import host_path, word
from ._units import shown

_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.:-]*(/[\w.:-]+)?", re.ASCII)


def existing_file(text: str, base: Path) -> str:
    return _existing(text, base, "file")


def existing_folder(text: str, base: Path) -> str:
    return _existing(text, base, "folder")


def _existing(text: str, base: Path, wanted: str) -> str:
    path = host_path(text, base)
    try:
        is_wanted = path.is_file() if wanted == "file" else path.is_dir()
    except OSError as error:
        raise ValueError(f"cannot look at {path}: {error.strerror}") from None
    if is_wanted:
        return str(path)
    if path.exists():
        raise ValueError(f"{path} is a {'folder' if wanted == 'file' else 'file'}, not a {wanted}")
    raise ValueError(f"no such {wanted}: {path}")


def model(text: str, base: Path) -> str:
    """Tell names at the hub from paths: a path says so by how it starts, as in a shell.

    Raises:
        ValueError: it is neither, or nothing is there.
    """
    if text.startswith((".", "/", "~")):
        path = host_path(text, base)
        if not path.exists():
            raise ValueError(f"no such file or folder: {path}")
        return str(path)
    if not _HUB_NAME.fullmatch(text):
        raise ValueError(
            "expected a name at the model hub (Qwen/Qwen3-8B) or a path (./models/mine),"
            f" not {shown(text)}"
        )
    if (base / text).exists():
        raise ValueError(
            f"{text!r} is read as a name at the model hub; write ./{text} for what is here"
        )
    return text


def models(value: Any, base: Path) -> tuple[str, ...]:
    written = value if isinstance(value, list) else [value]
    if not written:
        raise ValueError("names no model")
    return tuple(model(word(one), base) for one in written)
