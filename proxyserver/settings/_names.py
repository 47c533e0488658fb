"""The names by which clients ask: each has one owner, and the default has one at all."""

from collections.abc import Mapping

from proxycore import Router, ServiceId
from proxycore.config import CoreConfig

from ._errors import Problems, Steps, near
from ._model import ServiceEntry


def check_names(entries: Mapping[ServiceId, ServiceEntry], found: Problems) -> None:
    """Complain about aliases that others have."""
    owners = {str(service): f"the id of service {service!r}" for service in entries}
    for service, entry in entries.items():
        for index, alias in enumerate(entry.aliases):
            if alias in owners:
                at: Steps = ("services", service, "aliases", index)
                found.add(at, f"{alias!r} is {owners[alias]} already")
            owners.setdefault(alias, f"an alias of service {service!r}")


def check_default_model(name: str | None, core: CoreConfig, found: Problems) -> None:
    """Complain about a default model that nobody has.

    Raises:
        SettingsError: so it is.
    """
    names = Router.of(core).routes
    if name is not None and name not in names:
        found.add(("server", "default_model"), f"nobody has the model {name!r}{near(name, names)}")
        found.check()
