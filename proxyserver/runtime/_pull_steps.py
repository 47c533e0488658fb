"""How far a pull is, by what the engine tells of it, and whether the rest fits on the disk."""

import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import attrs
import trio

from proxycore import Cause

from ._logs import clean_line
from ._protocol import Progress, PullProgress, RuntimeFault
from ._pull_faults import pull_cause

PROGRESS_S = 0.1
"""Told so often at most, unless what the engine does has changed."""
ROOM_EVERY_S = 1.0
ROOM_LEAST = 512 << 20
"""So much stays free: a full disk would hurt everything that lives on it."""

_UNTOLD = ("Retrying", "Pulling from", "Pulling fs", "Waiting", "Digest:")
"""What begins so says nothing of how far it is."""

Free = Callable[[Path], Awaitable[int]]
"""Tells the bytes that are free where a folder is."""


async def free_bytes(folder: Path) -> int:
    """Ask the kernel, in a thread: a disk in trouble may take its time to answer."""
    return (await trio.to_thread.run_sync(shutil.disk_usage, folder)).free


@attrs.define
class Layers:
    """How far each layer of an image is, as the engine tells it."""

    _known: dict[str, int] = attrs.field(factory=dict)
    """The size of each, compressed, once it is known."""
    _fetched: dict[str, int] = attrs.field(factory=dict)
    _last: dict[str, object] = attrs.field(factory=dict)
    _status: str = "asking the registry"

    def note(self, step: Any) -> bool:
        """Take note of a step; return whether it is a sign of life."""
        status, layer = clean_line(str(step.get("status", ""))), str(step.get("id", ""))
        detail = step.get("progressDetail") or {}
        current, total = detail.get("current"), detail.get("total")
        if status == "Downloading" and total:
            self._known[layer] = total
            # A broken download begins anew.
            self._fetched[layer] = current or 0
        elif status in ("Download complete", "Verifying Checksum", "Extracting"):
            self._fetched[layer] = self._known.get(layer, 0)
        if status and not status.startswith(_UNTOLD):
            self._status = status.removeprefix("Status: ")
        said = (status, current)
        if status.startswith("Retrying") or self._last.get(layer) == said:
            return False
        self._last[layer] = said
        return True

    @property
    def progress(self) -> PullProgress:
        return PullProgress(self._status, sum(self._fetched.values()), sum(self._known.values()))


@attrs.define
class Room:
    """The disk that an image must fit on."""

    _image: str
    _folder: Path | None
    """None: where it is, or what is free there, cannot be told."""
    _free: Free
    _asked_at: float = float("-inf")
    _asked_for: int = 0

    async def check(self, missing: int) -> None:
        """Look now and then, and whenever more is known of it, whether what is to come can fit.

        Unpacked it takes more, but how much nobody knows before: so this is the least.

        Raises:
            RuntimeFault: it cannot.
        """
        early = trio.current_time() - self._asked_at < ROOM_EVERY_S
        if self._folder is None or (early and missing <= self._asked_for):
            return
        self._asked_at, self._asked_for = trio.current_time(), missing
        try:
            free = await self._free(self._folder)
        except OSError:
            self._folder = None
            return
        if free < missing + ROOM_LEAST:
            what = f"at least {missing >> 20} MiB are still to come and " if missing else ""
            raise RuntimeFault(
                Cause(
                    "disk_full",
                    f"{self._image} does not fit: {what}{ROOM_LEAST >> 20} MiB shall stay free, "
                    f"and {free >> 20} MiB are free in {self._folder}. Remove images and "
                    "containers that nobody needs (`docker system prune`), or give the engine a "
                    "larger disk (`data-root`).",
                )
            )


async def follow(
    image: str,
    steps: AsyncGenerator[Any, None],
    room: Room,
    progress: Progress,
    *,
    stall_s: float,
) -> None:
    """Follow a pull to its end; leaving it before ends it.

    Args:
        image: which.
        steps: what the engine tells.
        room: where it must fit.
        progress: is told how far it is, now and then.
        stall_s: how long it may go on without a sign of life.

    Raises:
        RuntimeFault: the engine says that it fails, it does not fit, or nothing comes any more.
    """
    layers = Layers()
    told, told_at = "", float("-inf")
    await room.check(0)
    with trio.move_on_after(stall_s) as patience:
        async with aclosing(steps):
            async for step in steps:
                if "error" in step:
                    raise RuntimeFault(pull_cause(image, str(step["error"])))
                if layers.note(step):
                    patience.deadline = trio.current_time() + stall_s
                now = layers.progress
                if now.status != told or trio.current_time() - told_at >= PROGRESS_S:
                    told, told_at = now.status, trio.current_time()
                    progress(now)
                await room.check(now.total - now.done)
        progress(layers.progress)
    if patience.cancelled_caught:
        came = layers.progress
        message = f"{image}: nothing came for {stall_s:g} s"
        if came.total:
            message += f", after {came.done >> 20} of {came.total >> 20} MiB"
        message += ". Is the way to the registry good? What has come whole is kept: try again."
        raise RuntimeFault(Cause("pull_stalled", message))
