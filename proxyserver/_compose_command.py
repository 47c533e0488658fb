"""The command `aiproxy config import-compose`: a compose file becomes a configuration."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, Json, print_json


def import_compose(
    file: Annotated[Path, Parameter(help="A compose file.")],
    /,
    *services: Annotated[str, Parameter(help="Only these; default: all.")],
    json: Json = False,
) -> None:
    """Print it as a configuration; tell what is not taken over, and why."""
    from attrs import asdict

    from .compose import import_compose as convert
    from .settings import SettingsError

    try:
        converted = convert(file, services)
    except SettingsError as error:
        raise CommandFailed(FAILED, str(error)) from None
    if json:
        remarks = [asdict(one) for one in converted.remarks]
        print_json({"configuration": converted.text, "remarks": remarks})
        return
    print(converted.text, end="")
    for remark in converted.remarks:
        print(remark, file=sys.stderr)
