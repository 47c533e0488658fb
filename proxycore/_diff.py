"""A new configuration: what is different in it, and what that means for runs that live."""

from collections.abc import Mapping

import attrs

from . import effects as fx
from ._books import Books, ServiceBook
from ._ids import DeviceId, ServiceId
from ._ledger import Room
from ._lifecycle import State
from ._verbs import Verbs
from .config import CoreConfig, ServiceSpec

_SLEEPS = (State.SLEEPING, State.ASLEEP, State.ROUSING, State.WAKING)

ALTERED = "its configuration has changed"
REMOVED = "it was taken out of the configuration"


@attrs.frozen
class ConfigDiff:
    """What is different between two configurations, each in the order of the newer one."""

    added: tuple[ServiceId, ...] = ()
    removed: tuple[ServiceId, ...] = ()
    altered: tuple[ServiceId, ...] = ()
    """Started in another way: a run that lives is out of date."""
    adjusted: tuple[ServiceId, ...] = ()
    """Started as before, with other limits or claims: a run that lives goes on."""
    devices: tuple[DeviceId, ...] = ()
    """New ones, other ones, and those that are no more."""
    linger: bool = False

    def __bool__(self) -> bool:
        return self != ConfigDiff()

    @classmethod
    def of(cls, old: CoreConfig, new: CoreConfig) -> "ConfigDiff":
        """Compare two configurations.

        >>> from proxycore import CoreConfig, ServiceSpec
        >>> old = CoreConfig(services=(ServiceSpec("chat", fingerprint="a"), ServiceSpec("embed")))
        >>> new = CoreConfig(services=(ServiceSpec("chat", fingerprint="b"),))
        >>> diff = ConfigDiff.of(old, new)
        >>> diff.removed, diff.altered
        (('embed',), ('chat',))
        """
        before = {spec.id: spec for spec in old.services}
        after = {spec.id: spec for spec in new.services}
        both = [one for one in after if one in before]
        altered = [one for one in both if before[one].fingerprint != after[one].fingerprint]
        changed = [one for one in both if before[one] != after[one]]
        was = {device.id: device for device in old.devices}
        is_ = {device.id: device for device in new.devices}
        return cls(
            added=tuple(one for one in after if one not in before),
            removed=tuple(one for one in before if one not in after),
            altered=tuple(altered),
            adjusted=tuple(one for one in changed if one not in altered),
            devices=tuple(one for one in {**is_, **was} if was.get(one) != is_.get(one)),
            linger=old.linger != new.linger,
        )


def enter(config: CoreConfig, before: Mapping[ServiceId, ServiceSpec], books: Books) -> None:
    """Have a book for every service of a configuration, and keep those of who has to leave yet.

    Args:
        config: the new one.
        before: what the services were, those among them that are leaving already.
        books: where.
    """
    services = books.services
    kept: dict[ServiceId, ServiceBook] = {}
    for spec in config.services:
        kept[spec.id] = services.get(spec.id) or ServiceBook(spec.id, since_at=books.now)
        kept[spec.id].retired = None
    for service, book in services.items():
        if service not in kept:
            kept[service] = book
            book.retired = before[service]
    books.services = kept
    units = {device.id: device.unit for device in config.devices}
    for device in list(books.measured):
        if device not in units:
            del books.measured[device]


def forget_gone(books: Books) -> bool:
    """Forget who is out of the configuration and gone; tell if there was anybody."""
    gone = [
        book.id
        for book in books.services.values()
        if book.retired is not None and book.state in (State.DOWN, State.BACKOFF, State.FAILED)
    ]
    for service in gone:
        del books.services[service]
    return bool(gone)


class Replacing:
    """Lets what lives follow a configuration that is in force already.

    Args:
        verbs: made for the new configuration.
        before: what the services were.
    """

    def __init__(self, verbs: Verbs, before: Mapping[ServiceId, ServiceSpec]) -> None:
        self._verbs = verbs
        self._before = before

    def follow(self) -> None:
        """Let who is removed or altered leave, and put new limits into force."""
        verbs, empty = self._verbs, Room.of(self._verbs.config.devices)
        for book in verbs.books.services.values():
            verbs.touch(book)
            before, spec = self._before.get(book.id, verbs.specs[book.id]), verbs.specs[book.id]
            if book.retired is not None:
                self._remove(book)
            elif before.fingerprint != spec.fingerprint:
                self._alter(book)
            elif before != spec:
                self._adjust(book, before)
            if _sleeps(book) and book.home is not None and not empty.fits(book.home):
                self._leave(book, "there is no room any more to wake it")
        for book in verbs.books.services.values():
            if book.state is State.RESERVED and book.promised not in verbs.placements(book):
                verbs.release(book, "its claims have changed")
        verbs.room_changed = True

    def _leave(self, book: ServiceBook, why: str) -> None:
        """Let a run leave that would not be started now as it was."""
        book.outdated = book.run is not None
        self._verbs.leave(book, why, for_good=True)

    def _remove(self, book: ServiceBook) -> None:
        message = f"{book.id} is not available any more: {REMOVED}"
        self._verbs.refuse_all(book, fx.Reason.REMOVED, message)
        host = self._verbs.hosts.host_of(book)
        if host is None or host.retired is None:
            self._leave(book, REMOVED)
        else:
            book.outdated = book.run is not None  # It ends with its host.

    def _alter(self, book: ServiceBook) -> None:
        for one in self._verbs.hosts.with_models(book):
            self._forgive(one)  # It may have been the host's fault.
        book.learnt.forget_runs()
        if book.state is not State.RESERVED:
            self._leave(book, ALTERED)

    def _adjust(self, book: ServiceBook, before: ServiceSpec) -> None:
        verbs, spec = self._verbs, self._verbs.specs[book.id]
        if before.placements != spec.placements:
            self._forgive(book)
        if spec.pinned and book.drains_for is not None:
            verbs.undrain(book, "it is pinned now")
        home = book.home
        if _sleeps(book) and home is not None and before.residue(home) != spec.residue(home):
            self._leave(book, "it shall sleep in another way")
        limits = (before.idle_s, before.pinned) != (spec.idle_s, spec.pinned)
        if book.state is State.ASLEEP and limits:
            verbs.arm(book, None)  # It rests from now on.

    def _forgive(self, book: ServiceBook) -> None:
        """Let a service be tried again that has failed, since it may have been mended."""
        book.failures, book.cause, book.blame = 0, None, None
        book.fails = book.retries = False
        if book.state in (State.BACKOFF, State.FAILED):
            self._verbs.retry(book, ALTERED)


def _sleeps(book: ServiceBook) -> bool:
    """Tell whether a run sleeps, or is on its way into sleep or out of it."""
    return book.state in _SLEEPS or book.drains_to_sleep
