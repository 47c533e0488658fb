"""The command `aiproxy config schema`: what an editor needs to know of the configuration."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, print_json


def schema(
    file: Annotated[
        Path | None, Parameter(help="Know the `templates:` of this configuration as types, too.")
    ] = None,
    /,
) -> None:
    """Print its JSON Schema, with the templates and runtimes of other packages."""
    from .settings import SettingsError
    from .settings.schema import schema_of

    try:
        print_json(schema_of(file))
    except SettingsError as error:
        raise CommandFailed(FAILED, str(error)) from None
