"""A configuration that is read again as the test says."""

from typing import Any

import attrs

from .fake_profiles import FakeProfiles


@attrs.define
class FakeOutcome:
    problems: list[dict[str, Any]] = attrs.field(factory=list)

    def as_json(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {"restarts": {}, "changes": {}, "next_start": {}}
        nothing |= {"removed": [], "server": [], "needs_restart": []}
        return {"outcome": "changed", "added": ["new"], **nothing, "problems": self.problems}


@attrs.define(eq=False)
class FakeConfiguration:
    """A configuration that is read again as the test says."""

    outcome: FakeOutcome = attrs.field(factory=FakeOutcome)
    texts: list[str | None] = attrs.field(factory=list)
    profiles: FakeProfiles = attrs.field(factory=FakeProfiles)

    def as_json(self) -> dict[str, Any]:
        return {
            "path": "/c.yaml",
            "loaded_at": 1.0,
            "problems": self.outcome.problems,
            "needs_restart": [],
            "schedules": [],
        }

    async def reload(self, why: str) -> FakeOutcome:
        return self.outcome

    async def diff(self, text: str | None = None) -> FakeOutcome:
        self.texts.append(text)
        return self.outcome
