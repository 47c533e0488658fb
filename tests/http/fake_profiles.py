"""Profiles that are switched between as the real ones are, with nothing behind them."""

from collections.abc import Mapping, Sequence

import attrs


@attrs.define(eq=False)
class FakeProfiles:
    profile: str | None = None
    profiles: Mapping[str, Sequence[str]] = attrs.field(
        factory=lambda: {"day": ["chat", "embed"], "night": []}
    )

    async def switch(self, profile: str | None) -> None:
        if profile is not None and profile not in self.profiles:
            raise KeyError(profile)
        self.profile = profile
