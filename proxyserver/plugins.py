"""All templates, runtimes and policies, with who offers them, and what is broken about them."""

from collections.abc import Callable, Collection, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as own_version
from typing import Any

import attrs

from proxycore.policy import POLICIES

from . import policies
from .runtime._plugins import GROUP as RUNTIMES
from .runtime._plugins import SHIPPED, BrokenRuntime, load_runtime
from .settings._model import ServiceEntry
from .templates import GROUP, TEMPLATES, BrokenTemplate, load_template

BUILT_IN = "built-in"


@attrs.frozen
class Plugin:
    """One thing that is offered, and whether it can be used."""

    kind: str
    name: str
    origin: str
    """The distribution that it comes with."""
    version: str
    fault: str | None = None
    """Why it cannot be used."""


def plugins() -> Iterator[Plugin]:
    """Yield all templates, runtimes and policies there are, with what is broken."""
    version = own_version("ai-inference-proxy")
    reserved = {field.name for field in attrs.fields(ServiceEntry)}
    for name in TEMPLATES:
        yield Plugin("template", name, BUILT_IN, version)
    for point in entry_points(group=GROUP):
        yield _tried(
            "template", point, TEMPLATES, lambda one: load_template(one, reserved), BrokenTemplate
        )
    for name in SHIPPED:
        yield Plugin("runtime", name, BUILT_IN, version)
    for point in entry_points(group=RUNTIMES):
        yield _tried(
            "runtime", point, SHIPPED, lambda one: load_runtime(one, reserved), BrokenRuntime
        )
    for name in POLICIES:
        yield Plugin("policy", name, BUILT_IN, version)
    for point in entry_points(group=policies.GROUP):
        yield _tried("policy", point, POLICIES, policies.load, policies.UnknownPolicy)


def _tried(
    kind: str,
    point: EntryPoint,
    shipped: Collection[str],
    load: Callable[[EntryPoint], Any],
    fault: type[Exception],
) -> Plugin:
    origin, version = _origin(point)
    if point.name in shipped:
        return Plugin(kind, point.name, origin, version, "a built-in one has this name, and wins")
    try:
        load(point)
    except fault as error:
        return Plugin(kind, point.name, origin, version, str(error))
    return Plugin(kind, point.name, origin, version)


def _origin(point: EntryPoint) -> tuple[str, str]:
    return ("?", "?") if point.dist is None else (point.dist.name, point.dist.version)
