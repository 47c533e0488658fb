"""The command `aiproxy config show`: a configuration as it is understood, without its secrets."""

from typing import Annotated, Any

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, Json, fail, listed, print_json
from ._configuration import Config, config_path, load_settings


def show(
    *services: Annotated[str, Parameter(help="Only these; default: all.")],
    config: Config = None,
    resolved: Annotated[
        bool, Parameter(negative=(), help="With defaults, claims, and how each is started.")
    ] = False,
    json: Json = False,
) -> None:
    """Print it as it is understood; secrets are left out."""
    import yaml

    from .settings import SettingsError
    from .settings import show as text

    path = config_path(config)
    settings = load_settings(path)
    try:
        told = text.resolved(settings) if resolved else text.as_written(path)
    except SettingsError as error:  # It was changed meanwhile.
        raise CommandFailed(FAILED, str(error)) from None
    if services:
        told = {"services": _only(services, told["services"])}
    if json:
        print_json(told)
        return
    print(yaml.safe_dump(_for_people(told), sort_keys=False, allow_unicode=True, width=100), end="")


def _only(wanted: tuple[str, ...], there: dict[str, Any]) -> dict[str, Any]:
    for name in wanted:
        if name not in there:
            fail(f"there is no service {name!r}; there are: {listed(there)}")
    return {name: there[name] for name in dict.fromkeys(wanted)}


def _for_people(value: Any) -> Any:
    """Return sizes as texts; the rest is as it is."""
    from .settings.show import Bytes

    match value:
        case Bytes():
            return str(value)
        case dict():
            return {key: _for_people(one) for key, one in value.items()}
        case list():
            return [_for_people(one) for one in value]
    return value
