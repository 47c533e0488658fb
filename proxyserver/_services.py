"""How to start each service of the configuration in force, and of who has to leave it yet."""

from collections.abc import Iterable, Mapping

import attrs

from proxycore import Reason, ServiceId

from .refused import Refused
from .settings import Service


@attrs.define(eq=False)
class Services:
    """The services that the core knows."""

    known: dict[ServiceId, Service]
    """Others may go by it, too: it is always this one."""
    leaving: set[ServiceId] = attrs.field(factory=set, init=False)
    """Out of the configuration, and not gone yet."""

    def replace(self, services: Mapping[ServiceId, Service]) -> None:
        """Know those of another configuration, and of the last one those who have to leave yet."""
        self.leaving.update(one for one in self.known if one not in services)
        self.leaving.difference_update(services)
        self.known.update(services)

    def forget_gone(self, there: Iterable[ServiceId]) -> list[ServiceId]:
        """Forget, and return, who is out of the configuration and not among those given."""
        gone = sorted(self.leaving.difference(there))
        for service in gone:
            del self.known[service]
        self.leaving.difference_update(gone)
        return gone

    def check(self, service: ServiceId) -> None:
        """Refuse who came by a configuration that is not in force any more.

        Raises:
            Refused: the service is out of the configuration.
        """
        if service in self.leaving or service not in self.known:
            message = f"{service} was taken out of the configuration"
            raise Refused(service, Reason.REMOVED, message)
