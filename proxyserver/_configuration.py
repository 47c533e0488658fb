"""Which configuration a command reads, and reading it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, fail

if TYPE_CHECKING:
    from proxyserver.settings import Settings

Config = Annotated[
    Path | None,
    Parameter(
        name="--config",
        help="The configuration; else ./aiproxy.yaml, else aiproxy/aiproxy.yaml in the folder "
        "for configurations (XDG).",
    ),
]


def config_path(given: Path | None) -> Path:
    """Return the configuration to use: as given, else the first of the usual ones.

    Raises:
        CommandFailed: none is given and none is there.
    """
    found = given or usual_path()
    if found is None:
        here, elsewhere = _usual()
        fail(
            f"no configuration: neither {here} here nor {elsewhere};"
            " name one by --config, or have one written by `aiproxy config init`"
        )
    return found


def usual_path() -> Path | None:
    """Return the first of the usual configurations; None: there is none."""
    return next((path for path in _usual() if path.is_file()), None)


def _usual() -> tuple[Path, Path]:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path("aiproxy.yaml"), base / "aiproxy" / "aiproxy.yaml"


def load_settings(path: Path) -> "Settings":
    """Read a configuration.

    Raises:
        CommandFailed: it is wrong, with all that is.
    """
    from proxyserver.settings import SettingsError, load

    try:
        return load(path, os.environ)
    except SettingsError as error:
        raise CommandFailed(FAILED, str(error)) from None
