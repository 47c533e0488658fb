"""Eviction policies by name: the shipped ones, and those of other packages."""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

import attrs
from loguru import logger

from proxycore import EvictionPolicy, Idle
from proxycore.policy import POLICIES, is_value

GROUP = "aiproxy.policies"
"""A package offers a policy as an entry point of this group: its name, and what makes it."""


class UnknownPolicy(Exception):
    """Nobody offers a policy of that name, or what is offered is none."""


def names() -> tuple[str, ...]:
    """Return the names of all policies there are; a shipped one wins over another of its name."""
    return tuple(dict.fromkeys((*POLICIES, *(point.name for point in entry_points(group=GROUP)))))


def policy_named(name: str) -> EvictionPolicy:
    """Return a policy by name; one of another package is watched.

    Raises:
        UnknownPolicy: there is none, or it cannot be had, and why.
    """
    if name in POLICIES:
        return POLICIES[name]
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise UnknownPolicy(f"unknown policy {name!r}; there are {', '.join(names())}")
    return load(points[0])


def load(point: EntryPoint) -> "WatchedPolicy":
    """Make the policy of an entry point.

    Raises:
        UnknownPolicy: it cannot be imported or made, or is no policy.
    """
    try:
        policy = point.load()()
    except Exception as error:  # Anybody's code.
        raise UnknownPolicy(
            f"policy {point.name!r} ({point.value}) cannot be loaded: {error!r}"
        ) from error
    if not callable(getattr(policy, "value", None)):
        raise UnknownPolicy(f"policy {point.name!r} ({point.value}) has no method `value`")
    return WatchedPolicy(policy, point.name)


@attrs.define
class WatchedPolicy:
    """Somebody's policy: what goes wrong with it is logged, once for each kind of fault.

    The core then takes the default's values for that decision.
    """

    inner: EvictionPolicy
    name: str
    """As the entry point calls it, whatever the policy says itself."""
    _told: set[str] = attrs.field(factory=set, init=False)

    def value(self, run: Idle) -> float:
        """Return the policy's value; whatever it raises goes on to the core."""
        try:
            value = self.inner.value(run)
        except Exception as error:
            self._tell(run, f"raised {type(error).__name__}", f": {error}")
            raise
        if not is_value(value):
            self._tell(run, "returned no number from 0 to 1e300", f": {value!r:.80}")
        return value

    def _tell(self, run: Idle, what: str, details: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.error(
                "policy {!r} {} for {}{}; the default decides in its place (said once)",
                self.name, what, run.service, details,
            )  # fmt: skip


@attrs.frozen
class PoliciesByName(Mapping[str, EvictionPolicy]):
    """All policies by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> EvictionPolicy:
        try:
            return policy_named(name)
        except UnknownPolicy as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())
