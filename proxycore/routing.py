"""From the name that a client used to the service that it means; pure."""

import difflib
from typing import TypeAlias

import attrs

from ._ids import ServiceId
from .config import CoreConfig

NEAR_MAX = 3


@attrs.frozen
class Route:
    """Who shall answer."""

    service: ServiceId
    """Of a model inside a server: the model's own."""


@attrs.frozen
class Unknown:
    """Nobody has this name; these are near."""

    near: tuple[str, ...]


Resolved: TypeAlias = Route | Unknown


@attrs.frozen
class Router:
    """All names of one configuration: services, their aliases, `host/model`, models."""

    routes: dict[str, Route]

    @classmethod
    def of(cls, config: CoreConfig) -> "Router":
        """Collect the names; a service's wins over a model's, the first model over the next."""
        routes = {}
        models = [service for service in config.services if service.host is not None]
        for service in config.services:
            for name in (service.id, *(() if service.host else service.aliases)):
                routes[name] = Route(service.id)
        for model in models:
            for name in (model.id.removeprefix(f"{model.host}/"), *model.aliases):
                routes.setdefault(name, Route(model.id))
        return cls(routes)

    def resolve(self, name: str) -> Resolved:
        """Return who answers to the name, or which names are near.

        >>> from proxycore import CoreConfig, ServiceSpec
        >>> router = Router.of(CoreConfig(services=(ServiceSpec("coder"),)))
        >>> router.resolve("coder")
        Route(service='coder')
        >>> router.resolve("codre")
        Unknown(near=('coder',))
        """
        route = self.routes.get(name)
        if route is not None:
            return route
        return Unknown(self.near(name))

    def near(self, name: str) -> tuple[str, ...]:
        """Return the names that are most like this one."""
        # The comparison is quadratic in the length, and the name is a stranger's.
        return tuple(difflib.get_close_matches(name[:128], self.routes, n=NEAR_MAX, cutoff=0.5))
