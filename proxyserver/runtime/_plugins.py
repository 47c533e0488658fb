"""Runtimes of other packages: found by entry points, loaded, and never trusted to be whole."""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from ._protocol import Runtime

GROUP = "aiproxy.runtimes"
"""A package offers a runtime as an entry point of this group: its name, and what makes it."""
SHIPPED = ("docker", "process", "external")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

Takes: TypeAlias = Literal["container", "process"]


class BrokenRuntime(Exception):
    """What is offered cannot be used, and why."""


@attrs.frozen
class RuntimePlace:
    """What is a runtime's own: nobody else has this id or writes to this folder."""

    instance: str
    """To be written on all that it starts: what carries another is a stranger's."""
    state_dir: Path
    """Where it keeps what outlives the daemon; it need not be there yet."""


class RuntimePlugin(Protocol):
    """What a package offers: it says what of a service it needs, and makes the runtime."""

    @property
    def takes(self) -> Takes:
        """Whether it runs what a service has under `container` or under `process`."""

    @property
    def options(self) -> type[Any]:
        """An attrs class: what a service may say under the name of the runtime."""

    def make(self, place: RuntimePlace) -> Runtime:
        """Make the runtime; it starts nothing yet."""


@attrs.frozen
class Offer:
    """A plug-in that was loaded, as its entry point calls it."""

    name: str
    takes: Takes
    options: type[Any]
    plugin: RuntimePlugin


@attrs.frozen
class Offers:
    """The runtimes that other packages offer, and why some cannot be used."""

    usable: Mapping[str, Offer]
    broken: Mapping[str, str]


def find_runtimes(reserved: Collection[str]) -> Offers:
    """Load the runtimes of other packages; a shipped one wins over another of its name.

    Args:
        reserved: keys that every service has, so that no runtime can be called so.
    """
    usable: dict[str, Offer] = {}
    broken: dict[str, str] = {}
    for point in _points():
        try:
            usable[point.name] = load_runtime(point, reserved)
        except BrokenRuntime as error:
            broken[point.name] = f"{point.dist.name if point.dist else point.value}: {error}"
    return Offers(MappingProxyType(usable), MappingProxyType(broken))


def offer_named(name: str) -> Offer:
    """Load one runtime of another package.

    Raises:
        BrokenRuntime: nobody offers it, or it cannot be loaded.
    """
    for point in _points():
        if point.name == name:
            return load_runtime(point)
    raise BrokenRuntime("no package that is installed offers it")


def _points() -> Iterator[EntryPoint]:
    return (point for point in entry_points(group=GROUP) if point.name not in SHIPPED)


def load_runtime(point: EntryPoint, reserved: Collection[str] = ()) -> Offer:
    """Load what an entry point names.

    Raises:
        BrokenRuntime: it cannot be imported or made, or is no plug-in.
    """
    if not _NAME.fullmatch(point.name):
        raise BrokenRuntime("its name has more in it than small letters, digits, '.', '_' and '-'")
    if point.name in reserved:
        raise BrokenRuntime(f"its name {point.name!r} is a key that every service has")
    try:
        plugin = point.load()()
    except Exception as error:  # Anybody's code.
        raise BrokenRuntime(f"{point.value} cannot be loaded: {error!r}") from error
    options = getattr(plugin, "options", None)
    if not isinstance(options, type) or not attrs.has(options):
        raise BrokenRuntime(f"{point.value} has no attrs class `options`")
    takes = getattr(plugin, "takes", None)
    if takes not in ("container", "process"):
        raise BrokenRuntime(f"{point.value}: `takes` is neither 'container' nor 'process'")
    if not callable(getattr(plugin, "make", None)):
        raise BrokenRuntime(f"{point.value} has no method `make`")
    return Offer(point.name, takes, options, plugin)
