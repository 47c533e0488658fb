"""The API tells which profile is in force, and switches."""

from .rig import running
from .test_configuration import ask

PROFILES = {"day": ["chat", "embed"], "night": []}


async def test_a_profile_is_switched_to_and_told() -> None:
    """One that there is, none at all, and not one that there is not."""
    async with running() as rig:
        none = {"profile": None, "profiles": PROFILES}
        assert await ask(rig, "/api/v1/profile", method="GET") == (200, none)
        day = {"profile": "day", "profiles": PROFILES}
        assert await ask(rig, "/api/v1/profile/day") == (200, day)
        assert await ask(rig, "/api/v1/profile", method="GET") == (200, day)
        status, said = await ask(rig, "/api/v1/profile/nigth")
        assert (status, said["error"]["code"]) == (404, "profile_not_found")
        assert "did you mean 'night'?" in said["error"]["message"]
        assert await ask(rig, "/api/v1/profile", method="GET") == (200, day)
        assert await ask(rig, "/api/v1/profile/none") == (200, none)
