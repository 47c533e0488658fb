"""Which services live inside which: a server and its models are used, wanted and idle together.

A model is a service like any other, with rules of its own for all that concerns it alone.  What
binds it to its host is here, and in `Verbs.stop`: with a host its models end.
"""

from collections.abc import Mapping

from ._books import ServiceBook, Ticket
from ._ids import ServiceId
from ._lifecycle import State
from .config import Placement, ServiceSpec

_MOVING = frozenset({State.STARTING, State.DRAINING, State.STOPPING})


class Hosts:
    """Questions about services and what lives inside them; it changes nothing."""

    def __init__(
        self, specs: Mapping[ServiceId, ServiceSpec], books: Mapping[ServiceId, ServiceBook]
    ) -> None:
        self._specs = specs
        inside: dict[ServiceId, list[ServiceBook]] = {}
        for spec in specs.values():
            if spec.host is not None:
                inside.setdefault(spec.host, []).append(books[spec.id])
        self._models = {host: tuple(models) for host, models in inside.items()}
        self._host = {spec.id: books[spec.host] for spec in specs.values() if spec.host is not None}
        self._kin = {host: (*models, books[host]) for host, models in self._models.items()}

    def host_of(self, book: ServiceBook) -> ServiceBook | None:
        """Return the server of a model; None: it is a server."""
        return self._host.get(book.id)

    def models(self, book: ServiceBook) -> tuple[ServiceBook, ...]:
        """Return the models inside a service."""
        return self._models.get(book.id, ())

    def with_models(self, book: ServiceBook) -> tuple[ServiceBook, ...]:
        """Return the models inside a service, then itself."""
        return self._kin.get(book.id) or (book,)

    def kin(self, book: ServiceBook) -> tuple[ServiceBook, ...]:
        """Return all that may change with a service: the models of one host, then the host."""
        return self.with_models(self._host.get(book.id, book))

    def is_shared(self, book: ServiceBook) -> bool:
        """Tell whether others live in it, or it lives in another: memory is measured of both."""
        return book.id in self._kin or book.id in self._host

    def is_serving(self, book: ServiceBook) -> bool:
        """Tell whether it serves anybody, by a model inside it or without."""
        return any(one.in_flight for one in self.with_models(book))

    def waiters(self, book: ServiceBook) -> int:
        """Return how many wait for it or for a model inside it."""
        return sum(len(one.waiting) for one in self.with_models(book))

    def first_in_line(self, book: ServiceBook) -> Ticket:
        """Return who has waited longest for it or for a model inside it; somebody must wait."""
        firsts = (one.first_in_line for one in self.with_models(book) if one.waiting)
        return min(firsts, key=lambda ticket: ticket.id)

    def priority(self, book: ServiceBook) -> int:
        """Return the highest of the priorities of what is waited for; somebody must wait."""
        wanted = (one for one in self.with_models(book) if one.waiting)
        return max(self._specs[one.id].priority for one in wanted)

    def unused(self, book: ServiceBook) -> bool:
        """Tell whether nobody uses or wants it, and no model is on its way into or out of it."""
        return book.unused and all(
            model.unused and model.state not in _MOVING for model in self.models(book)
        )

    def is_open(self, book: ServiceBook) -> bool:
        """Tell whether a service may be started or used, as far as its host is concerned."""
        host = self._host.get(book.id)
        return host is None or host.state is State.READY

    def wants_room(self, book: ServiceBook) -> bool:
        """It was promised room, or somebody waits until it is."""
        if book.state is State.DOWN:
            return any(one.waiting for one in self.with_models(book)) and self.is_open(book)
        return book.promised is not None or (book.state is State.ASLEEP and bool(book.waiting))

    def placements(self, book: ServiceBook) -> tuple[Placement, ...]:
        """Return where a service may live now."""
        spec, host = self._specs[book.id], self._host.get(book.id)
        if host is None or host.placement is None:
            return spec.placements
        return spec.placements_in(self._specs[host.id], host.placement)
