"""The images of a container engine: which are here, and how others are fetched.

A pull lasts, so it is one connection of its own: who hangs up cancels it, which a thread could not.
"""

import json
import warnings
from collections.abc import AsyncGenerator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio
from docker import auth
from docker.errors import APIError, DockerException
from docker.utils import parse_repository_tag

from proxycore import Cause

from ._engine import Engine
from ._engine_socket import EngineLost, EngineRefused
from ._exits import refusal
from ._logs import clean_line
from ._protocol import Progress, RuntimeFault
from ._pull_faults import pull_cause
from ._pull_steps import Free, Room, follow, free_bytes

STALL_S = 300.0
"""How long a pull may go on without a byte; the check of a large layer on a slow disk is silent."""
STEP_BYTES_MAX = 1 << 20


class EngineImages:
    """Asks one engine for images.

    Args:
        docker_host: where it is; None: where DOCKER_HOST says, or the usual socket.
        stall_s: how long a pull may go on without a sign of life.
        free: tells how much room a disk has.
    """

    def __init__(
        self, docker_host: str | None, *, stall_s: float = STALL_S, free: Free = free_bytes
    ) -> None:
        self._engine = Engine(docker_host)
        self._stall_s = stall_s
        self._free = free

    async def check(self, image: str) -> None:
        """Ask whether an image is here.

        Raises:
            RuntimeFault: it is not, or no image can have this name.
            RuntimeUnreachable: the engine does not say.
        """
        try:
            await self._engine.sdk(lambda client: client.images.get(image))
        except APIError as error:
            if error.is_client_error():
                message = clean_line(str(error.explanation or error).replace("\n", " "))
                raise RuntimeFault(refusal(image, error.status_code, message)) from error
            raise self._engine.unreachable(error) from error

    async def pull(self, image: str, progress: Progress) -> None:
        """Fetch an image; the old one of that name stays until the new one is complete.

        Cancelling it leaves nothing half-made: the engine keeps whole layers for the next try, and
        drops the rest.

        Raises:
            RuntimeFault: it cannot be had, does not fit, or does not come, with the cause.
            RuntimeUnreachable: the engine went away.
        """
        room = Room(image, await self._data_folder(), self._free)
        try:
            await follow(image, self._steps(image), room, progress, stall_s=self._stall_s)
        except EngineRefused as error:
            raise RuntimeFault(pull_cause(image, error.message)) from error
        except EngineLost as error:
            raise self._engine.unreachable(error) from error

    async def _steps(self, image: str) -> AsyncGenerator[Any, None]:
        """Ask the engine for an image, and yield each step that it tells of."""
        repository, tag = parse_repository_tag(image)
        login = await trio.to_thread.run_sync(_login, image, repository, abandon_on_cancel=True)
        engine = await self._engine.socket()
        query = {"fromImage": repository, "tag": tag or "latest"}
        async with engine.stream("POST", "/images/create", login, **query) as pieces:
            buffer = bytearray()
            async for piece in pieces:
                *lines, rest = (buffer + piece).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    if (step := _step(bytes(line))) is not None:
                        yield step
                if len(buffer) > STEP_BYTES_MAX:
                    raise EngineLost("the engine speaks of a pull without end")

    async def _data_folder(self) -> Path | None:
        """Return where the engine keeps images, if that is a folder of this machine."""
        if not _is_local(self._engine.host):
            return None
        info = await self._engine.ask(lambda client: client.info())
        # The store of containerd is not below the engine's own folder, nor is it told where.
        if "containerd" in str(info.get("DriverStatus")):
            return None
        folder = info.get("DockerRootDir")
        return None if folder is None else Path(str(folder))


def _login(image: str, repository: str) -> list[tuple[str, str]]:
    """Return the header with the user's own credentials for a registry, if there are any.

    They are read anew each time: people log in while the daemon runs.

    Raises:
        RuntimeFault: no image can have this name, or a credential helper fails.
    """
    try:
        registry, _ = auth.resolve_repository_name(repository)
    except DockerException as error:
        raise RuntimeFault(Cause("image_unknown", f"{image}: {error}", heals=False)) from error
    try:
        with warnings.catch_warnings(action="ignore"):  # It warns and raises.
            found = auth.load_config().resolve_authconfig(registry)
    except DockerException as error:
        message = (
            f"{image}: the credentials for {registry} cannot be read: {error}. "
            "Look into ~/.docker/config.json, or use `docker login`."
        )
        raise RuntimeFault(Cause("registry_login", message, heals=False)) from error
    return [("X-Registry-Auth", auth.encode_header(found).decode())] if found else []


def _step(line: bytes) -> Any:
    """Read a line of the engine; None: there is nothing in it.

    Raises:
        EngineLost: it talks, but not so.
    """
    if not line.strip():
        return None
    try:
        step = json.loads(line)
    except ValueError as error:
        raise EngineLost(f"the engine speaks of a pull in riddles: {error}") from error
    return step if isinstance(step, dict) else None


def _is_local(host: str) -> bool:
    parts = urlsplit(host)
    if parts.scheme == "unix" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
