"""Profiles: which services are pinned and kept running for now, on top of the configuration.

A profile that is in force lasts over reloads and restarts, until another is switched to or the
configuration has it no more.
"""

from pathlib import Path

import attrs
from loguru import logger

from proxycore import CoreConfig, ServiceId

from .settings import Service, Settings

FILE = "profile"


@attrs.define(eq=False)
class Profile:
    """The profile in force, and the file that remembers it."""

    _file: Path
    name: str | None = attrs.field(default=None, init=False)
    """None: none is."""

    @classmethod
    def remembered(cls, state_dir: Path) -> "Profile":
        """Return the one that was in force when the daemon ended."""
        profile = cls(state_dir / FILE)
        try:
            profile.name = profile._file.read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            profile.name = None
        return profile

    def switch(self, name: str | None) -> None:
        """Let another be in force, or none."""
        self.name = name
        try:
            self._file.write_text(f"{name or ''}\n")
        except OSError as error:
            logger.warning("the profile will not outlive the daemon: {}", error)

    def applied(self, settings: Settings) -> Settings:
        """Return what a configuration is while the profile is in force."""
        profiles = settings.server.profiles
        if self.name is not None and self.name not in profiles:
            logger.warning("the profile {} is no more: none is in force", self.name)
            self.switch(None)
        return with_pinned(settings, profiles[self.name] if self.name is not None else ())


def with_pinned(settings: Settings, pinned: tuple[ServiceId, ...]) -> Settings:
    """Return a configuration in which these services are pinned as well."""
    if not pinned:
        return settings
    services = {
        service: _pinned(one) if service in pinned else one
        for service, one in settings.services.items()
    }
    specs = tuple(one.spec for one in services.values())
    core = CoreConfig(settings.core.devices, specs, settings.core.linger)
    return attrs.evolve(settings, core=core, services=services)


def _pinned(service: Service) -> Service:
    return attrs.evolve(service, spec=attrs.evolve(service.spec, pinned=True))
