"""What the table of routes says of each route."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from proxyserver.access import ADMIN, INFERENCE, METRICS, Role

Who: TypeAlias = Literal["anyone", "key", "inference", "metrics", "admin"]
"""Whoever comes, any key, or keys with a role."""
ROLES_OF: Mapping[Who, tuple[Role, ...]] = {
    "key": (INFERENCE, ADMIN, METRICS),
    "inference": (INFERENCE,),
    "metrics": (METRICS, ADMIN),
    "admin": (ADMIN,),
}
"""Each of which will do."""
ANYTHING = "*/*"
"""The media of what a service answers."""


@attrs.frozen
class Query:
    name: str
    kind: str
    """A type of JSON Schema."""
    meaning: str
    limits: Mapping[str, Any] = attrs.field(factory=dict)
    """What the schema says beside the type."""
    required: bool = False


@attrs.frozen
class Sent:
    """What a request sends."""

    media: str
    meaning: str
    example: str
    """As curl's options."""


@attrs.frozen
class Entry:
    """One route."""

    method: str
    path: str
    summary: str
    answer: str
    """What a success looks like, for people."""
    errors: tuple[str, ...] = ()
    """Codes (see `errors.CODES`) that this route adds to the general ones."""
    query: tuple[Query, ...] = ()
    media: str = "application/json"
    """Of a success."""
    who: Who = "admin"
    """Who may ask, where there are keys."""
    sent: Sent | None = None

    @property
    def is_passed_on(self) -> bool:
        """Whether a service answers, so that the answer is of any kind."""
        return self.media == ANYTHING

    @property
    def is_for_services(self) -> bool:
        return self.who in ("inference", "key")
