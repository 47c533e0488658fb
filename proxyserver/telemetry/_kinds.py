"""What requests of one kind have in common, found once: to find it takes longer than to use it."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from proxyserver.http import RequestRecord
from proxyserver.surfaces import operation_of

from ._store import OTHER

T = TypeVar("T")

KINDS_MAX = 1000
PATH_MAX = 200
"""Clients write what they like into a path: a longer one is not remembered."""


class Kinds(Generic[T]):
    """Remembers what was made for each kind of request.

    Args:
        make: makes it of a request; it must be the same for all of a kind.
    """

    def __init__(self, make: Callable[[RequestRecord], T]) -> None:
        self._make = make
        self._made: dict[Hashable, T] = {}

    def of(self, record: RequestRecord) -> T:
        """Return what belongs to the kind of a request."""
        kind = (
            record.method,
            record.path,
            record.status,
            record.service,
            record.run,
            record.model,
            record.outcome,
        )
        made = self._made.get(kind)
        if made is None:
            made = self._make(record)
            if len(self._made) >= KINDS_MAX:
                self._made.clear()
            if len(record.path) <= PATH_MAX:
                self._made[kind] = made
        return made


def operation(path: str) -> str:
    """Return what a path asks of a model, as a label's value."""
    return operation_of(path.encode("latin-1", "replace")) or OTHER
