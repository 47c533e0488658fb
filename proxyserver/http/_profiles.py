"""The part of the API that tells which profile is in force, and switches to another."""

import difflib

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._ports import Profiles
from .errors import unknown

NONE = "none"


@attrs.frozen
class ProfileApi:
    """Answers what is about profiles."""

    _profiles: Profiles

    async def tell(self, request: Request) -> Response:
        profiles = {name: list(services) for name, services in self._profiles.profiles.items()}
        return JSONResponse({"profile": self._profiles.profile, "profiles": profiles})

    async def switch(self, request: Request) -> Response:
        """Switch to a profile, or to none; its services start after the answer."""
        name: str = request.path_params["id"]
        try:
            await self._profiles.switch(None if name == NONE else name)
        except KeyError:
            near = difflib.get_close_matches(name, self._profiles.profiles, n=2)
            raise unknown("profile", name, tuple(near)) from None
        return await self.tell(request)
