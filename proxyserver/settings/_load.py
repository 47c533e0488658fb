"""The way in: a file becomes settings, or all that is wrong with it is told at once."""

from collections.abc import Mapping
from pathlib import Path

from proxyserver.gauges.gpus import find_gpus

from ._build import Builder, FindGpus
from ._errors import SettingsError
from ._include import read_document
from ._readers import Readers
from ._settings import Settings
from ._sources import Sources


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    text: str | None = None,
    find_gpus: FindGpus = find_gpus,
) -> Settings:
    """Read a configuration: a file, and those that it includes.

    Args:
        path: the file; relative paths in it start at its folder.
        environ: what `${env:NAME}` refers to, with PATH, HOME and the like.
        text: what to read in place of what the file says.
        find_gpus: tells which GPUs the machine has; asked when the file does not say it.

    Raises:
        SettingsError: it cannot be read or used; every problem has its line and column.
    """
    sources = Sources()
    try:
        document = read_document(path, environ, sources, text=text)
        readers = Readers(document.problems, environ, sources)
        return Builder(path, environ, readers, document.problems, find_gpus).build(document.data)
    except SettingsError as error:
        error.sources = sources
        raise
