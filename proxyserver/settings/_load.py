"""The way in: a file becomes settings, or all that is wrong with it is told at once."""

from collections.abc import Mapping
from pathlib import Path

from proxyserver.gauges.gpus import find_gpus

from ._build import Builder, FindGpus
from ._errors import Problem, SettingsError
from ._settings import Settings
from ._shapes import make_converter
from ._yaml import BYTES_MAX, parse


def load(path: Path, environ: Mapping[str, str], *, find_gpus: FindGpus = find_gpus) -> Settings:
    """Read a configuration file.

    Args:
        path: the file; relative paths in it start at its folder.
        environ: what `${env:NAME}` refers to, with PATH, HOME and the like.
        find_gpus: tells which GPUs the machine has; asked when the file does not say it.

    Raises:
        SettingsError: it cannot be read or used; every problem has its line and column.
    """
    document = parse(read_text(path), str(path), environ)
    converter = make_converter(path.absolute().parent, environ)
    return Builder(path, environ, converter, document.problems, find_gpus).build(document.data)


def read_text(path: Path) -> str:
    """Read a file that people wrote.

    Raises:
        SettingsError: it cannot be read, is too large, or is not UTF-8.
    """

    def refuse(message: str, line: int = 1, column: int = 1) -> SettingsError:
        return SettingsError([Problem(str(path), line, column, "", message)])

    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise refuse(f"cannot read the configuration: {why}") from None
    if len(content) > BYTES_MAX:
        raise refuse(f"the file is larger than {BYTES_MAX >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_start = content.rfind(b"\n", 0, error.start) + 1
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse("the file is not UTF-8", line, error.start - line_start + 1) from None
