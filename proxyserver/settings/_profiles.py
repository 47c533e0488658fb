"""Services that the settings of the server name: what is kept running, and when."""

from collections.abc import Mapping

from proxycore import ServiceId

from ._errors import Problems, Steps, near
from ._model import ServerEntry

NONE = "none"
"""What is switched to where no profile shall be in force."""


def profiles_of(entry: ServerEntry) -> dict[str, tuple[ServiceId, ...]]:
    """Return the services of each profile."""
    return {name: tuple(map(ServiceId, of)) for name, of in (entry.profiles or {}).items()}


def check_kept(entry: ServerEntry, services: Mapping[ServiceId, object], found: Problems) -> None:
    """Complain about services that are named and are not there.

    Raises:
        SettingsError: so it is.
    """
    lists: list[tuple[Steps, tuple[str, ...]]] = [(("server", "preload"), entry.preload)]
    for name, written in (entry.profiles or {}).items():
        at: Steps = ("server", "profiles", name)
        lists.append((at, written))
        if name == NONE:
            found.add(at, "that name means that no profile is in force", at_key=True)
    for number, schedule in enumerate(entry.schedules):
        lists.append((("server", "schedules", number, "services"), schedule.services or ()))
    for steps, names in lists:
        for index, name in enumerate(names):
            if name not in services:
                message = f"there is no service {name!r}{near(name, services)}"
                found.add((*steps, index), message)
    found.check()
