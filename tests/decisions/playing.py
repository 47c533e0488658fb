"""A core that is played with, and what is remembered of its decisions."""

import json
from datetime import UTC
from typing import Any

from proxycore import (
    Core,
    CoreConfig,
    DeviceId,
    DeviceSpec,
    Event,
    Placement,
    RequestArrived,
    ServiceId,
    ServiceSpec,
    TicketId,
)
from proxycore.config import GIB
from proxyserver._story import relevant, summary, timeline
from proxyserver.decisions import Decisions

NOON = 1_750_000_000.0 // 86_400 * 86_400 + 43_200
GPU0 = DeviceId("gpu0")


def service(name: str, size: int, **more: Any) -> ServiceSpec:
    """Return a service that claims so many GiB."""
    return ServiceSpec(ServiceId(name), (Placement.of([(GPU0, size * GIB)]),), **more)


def arrived(ticket: int, name: str, now: float, wait_s: float = 600.0) -> RequestArrived:
    return RequestArrived(TicketId(ticket), ServiceId(name), now + wait_s)


class Played:
    """One core on a GPU of 24 GiB, whose time 0 is noon; ticket 7 is that of the request `r7`."""

    def __init__(self, *services: ServiceSpec, decisions_max: int = 100) -> None:
        config = CoreConfig((DeviceSpec(GPU0, 24 * GIB, 0),), services)
        self.now = 0.0
        self.core = Core(config, now=0.0)
        self.decisions = Decisions(
            "cost_rate", decisions_max=decisions_max, clock=lambda: NOON + self.now
        )

    def tell(self, now: float, *events: Event) -> None:
        self.now = now
        for event in events:
            effects = self.core.handle(event, now)
            self.decisions.note(effects, now, lambda ticket: f"r{ticket}")

    def kinds(self, **wanted: Any) -> list[str]:
        """Return who was decided about, and how."""
        return [f"{one.kind.value} {one.service}" for one in self.decisions.find(**wanted)]

    def told(self, **wanted: Any) -> str:
        """Return what `aiproxy explain SERVICE` prints."""
        return "\n".join(timeline(self._as_json(**wanted), NOON + self.now, UTC))

    def told_of(self, request: str) -> str:
        """Return what `aiproxy explain REQUEST` prints."""
        own = self._as_json(request=request)
        every = relevant(self._as_json(), own)
        now = NOON + self.now
        return "\n".join([*summary(own, now), *timeline(every, now, UTC)])

    def _as_json(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return what the API says."""
        found = [one.as_json() for one in self.decisions.find(**wanted)]
        plain: list[dict[str, Any]] = json.loads(json.dumps(found))
        return plain
