"""What runs a service, by what it says, by what is installed, and by what this machine has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from proxyserver.runtime._plugins import SHIPPED, Offers

from ._errors import Problems, Steps, near
from ._model import PullPolicy, ServerEntry, ServiceEntry
from ._readers import Readers
from ._settings import RuntimeName

_DOCKER_SOCKET = "unix:///var/run/docker.sock"
What: TypeAlias = Literal["container", "process", "external"]


@attrs.frozen
class Chosen:
    """What runs a service, which part of it, and what it is told besides."""

    runtime: RuntimeName
    what: What
    options: Any = None


@attrs.frozen
class Runtimes:
    """Chooses among the runtimes that there are."""

    offers: Offers
    docker_host: str | None
    default: Literal["auto", "docker", "process"]
    readers: Readers
    found: Problems

    def chosen(self, entry: ServiceEntry, written: Mapping[str, Any], at: Steps) -> Chosen:
        """Return what runs a service: what is written below decides, else what is asked for."""
        said: What | None = None
        for key in ("container", "process", "external"):
            if getattr(entry, key) is not None:
                said = said or key
        asked = entry.runtime
        if asked is not None and asked not in ("auto", *SHIPPED):
            return self.of_a_package(asked, said, written, at)
        if said is None and asked == "external":
            self.found.add((*at, "runtime"), "needs `external: {url: ...}`")
        needed = {None: None, "container": "docker"}.get(said, said)
        if needed and asked not in (None, "auto", needed):
            self.found.add((*at, "runtime"), f"{asked} does not run what is written below")
        if needed is not None:
            assert said is not None
            return Chosen(needed, said)
        for choice in (asked, self.default):
            if choice == "docker" or choice == "process":
                return Chosen(choice, "container" if choice == "docker" else "process")
        return Chosen("docker", "container") if self.has_docker() else Chosen("process", "process")

    def of_a_package(
        self, name: str, said: What | None, written: Mapping[str, Any], at: Steps
    ) -> Chosen:
        offer = self.offers.usable.get(name)
        if offer is None:
            if name in self.offers.broken:
                what = f"cannot be used: {self.offers.broken[name]}"
            else:
                there = ("auto", *SHIPPED, *self.offers.usable)
                what = f"unknown runtime {name!r} (there are {', '.join(there)}){near(name, there)}"
            self.found.add((*at, "runtime"), what)
            return Chosen(name, said or "process")
        if said is not None and said != offer.takes:
            self.found.add((*at, said), f"{name} runs what is under `{offer.takes}`", at_key=True)
        try:
            options = self.readers.read(written.get(name) or {}, offer.options, (*at, name))
        except Exception as error:  # The classes are anybody's.
            what = f"the options of this runtime cannot be read: {error!r}"
            self.found.add((*at, "runtime"), what)
            options = None
        return Chosen(name, offer.takes, options)

    def has_docker(self) -> bool:
        host = self.docker_host or _DOCKER_SOCKET
        return not host.startswith("unix://") or Path(host.removeprefix("unix://")).is_socket()


def own_key(written: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key under which a service speaks to a runtime of another package: its name."""
    name = written.get("runtime")
    return (name,) if isinstance(name, str) and name not in ("auto", *SHIPPED) else ()


def pull_of(entry: ServiceEntry, server: ServerEntry, at: Steps, found: Problems) -> PullPolicy:
    """Return whether the image of a service is fetched when it is missing."""
    if entry.pull == "missing" and (entry.process is not None or entry.external is not None):
        found.add((*at, "pull"), "only containers have images")
    return server.pull if entry.pull is None else entry.pull
