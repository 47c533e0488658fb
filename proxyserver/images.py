"""Which images of a configuration are missing, told before anything starts."""

import trio

from proxycore import Cause

from .runtime import ContainerSpec, EngineImages, RuntimeFault, RuntimeUnreachable
from .settings import Settings, SettingsError

ASK_S = 5.0
"""How long the engine may take to answer for all images together."""


async def check_images(settings: Settings) -> None:
    """Ask the engine for the image of every container, unless it is fetched when it is missing.

    Raises:
        SettingsError: some are not here.
        RuntimeUnreachable: the engine does not answer.  That is no mistake of the configuration:
            a daemon starts all the same, says so, and recovers when the engine does.
    """
    engine = EngineImages(settings.server.docker_host)
    problems = []
    with trio.move_on_after(ASK_S):
        for name, service in settings.services.items():
            what = service.launch.what
            if not isinstance(what, ContainerSpec) or service.pull == "missing":
                continue
            try:
                await engine.check(what.image)
            except RuntimeUnreachable:
                raise
            except RuntimeFault as fault:
                where = ("services", name, "container", "image")
                problems.append(settings.problem(where, fault.cause.message))
        if problems:
            raise SettingsError(problems)
        return
    message = f"the container engine does not answer within {ASK_S:g} s"
    raise RuntimeUnreachable(Cause("engine_unreachable", message))
