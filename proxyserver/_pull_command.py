"""The command `aiproxy pull`: images are fetched, for services or by name."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ._command import FAILED, CommandFailed, Json, fail, listed, print_json
from ._configuration import Config, config_path, load_settings, usual_path

if TYPE_CHECKING:
    from proxycore import Cause
    from proxyserver.settings import Settings


def pull(
    *wanted: Annotated[str, Parameter(help="Services, or images such as NAME:TAG; else all.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Fetch the images of services, of all of them, or any by name; no daemon is needed."""
    import attrs

    host = None
    images: dict[str, list[str]] = {}
    if config is None and usual_path() is None and wanted and all(map(_is_image, wanted)):
        images = {image: [] for image in wanted}
    else:
        settings = load_settings(config_path(config))
        host = settings.server.docker_host
        images = _images(settings, wanted)
    if not images and not json:
        print("no service here runs as a container: nothing to pull")
    causes = {image: _pull(host, image) for image in images}
    if json:
        print_json(
            [
                {"image": image, "services": used_by, "cause": cause and attrs.asdict(cause)}
                for (image, used_by), cause in zip(images.items(), causes.values(), strict=True)
            ]
        )
    failed = [f"aiproxy: {cause.message}" for cause in causes.values() if cause is not None]
    if failed:
        raise CommandFailed(FAILED, "\n".join(failed))


def _is_image(name: str) -> bool:
    """Tell whether this can only be an image: no service is called so."""
    return any(mark in name for mark in "/:@")


def _images(settings: "Settings", wanted: Iterable[str]) -> dict[str, list[str]]:
    """Return the images that are wanted, or all, each with the services that need it.

    Raises:
        CommandFailed: what is named is neither a service with an image, nor an image.
    """
    from proxyserver.runtime._protocol import ContainerSpec

    hosts = {key: one for key, one in settings.services.items() if one.spec.host is None}
    known = {
        str(key): one.launch.what.image
        if one.runtime == "docker" and isinstance(one.launch.what, ContainerSpec)
        else None
        for key, one in hosts.items()
    }
    named = dict.fromkeys(wanted)
    images: dict[str, list[str]] = {}
    for name in named or known:
        if name not in known:
            if not _is_image(name):
                there = f"there is no service {name!r}; there are: {listed(known)}"
                fail(f"{there} (an image is named with its tag, NAME:TAG)")
            images.setdefault(name, [])
        elif (image := known[name]) is not None:
            images.setdefault(image, []).append(name)
        elif named:
            fail(f"{name} runs in no container of the engine: there is no image to pull")
    return images


def _pull(docker_host: str | None, image: str) -> "Cause | None":
    """Fetch an image; return why not, if not."""
    import trio

    from proxyserver.runtime._protocol import RuntimeFault
    from proxyserver.runtime.images import EngineImages

    from ._pull import show

    try:
        with show(image, sys.stderr) as progress:
            trio.run(EngineImages(docker_host).pull, image, progress)
    except RuntimeFault as fault:
        return fault.cause
    return None
