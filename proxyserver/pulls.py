"""The pulls of images: one for each image, however many wait for it.

A pull goes on when those who wait have gone: what it has fetched is not lost then, and the next who
asks need not begin anew.  It ends when it is complete, fails, stalls, or somebody cancels it.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

import attrs
import trio
from loguru import logger

from proxycore import Cause

from .runtime import Progress, PullProgress, RuntimeFault

AT_ONCE = 2
"""Pulls that run together share the line: more of them would only all come later."""
KEPT = 64
"""How many are known, the last ended ones among them."""
STEPS_S = 0.5
"""Progress is told so often at most to one who follows it."""

QUEUED = PullProgress("waiting for other pulls", 0, 0)


class Images(Protocol):
    """Who has images, and can fetch others; `EngineImages` is one."""

    async def check(self, image: str) -> None:
        """Ask whether it is here.

        Raises:
            RuntimeFault: it is not.
            RuntimeUnreachable: nobody knows.
        """

    async def pull(self, image: str, progress: Progress) -> None:
        """Fetch it.

        Raises:
            RuntimeFault: it cannot be had, and why.
        """


@attrs.define(eq=False)
class Pull:
    """One image on its way, or how that ended."""

    image: str
    started_at: float = attrs.field(factory=time.time)
    """Unix time."""
    began_at: float = attrs.field(factory=trio.current_time)
    ended_at: float | None = None
    progress: PullProgress = QUEUED
    fault: RuntimeFault | None = None
    followers: int = 0
    """How many wait for it or follow it now."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    _moved: trio.Event = attrs.field(factory=trio.Event, repr=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, repr=False)

    @property
    def state(self) -> str:
        if self.ended_at is None:
            return "pulling"
        if self.fault is None:
            return "done"
        return "cancelled" if self.fault.cause.kind == "pull_cancelled" else "failed"

    def as_json(self) -> dict[str, Any]:
        """Return what the API tells of it."""
        done, total = self.progress.done, self.progress.total
        until_at = trio.current_time() if self.ended_at is None else self.ended_at
        return {
            "image": self.image,
            "state": self.state,
            "status": self.progress.status,
            "done": done,
            "total": total,
            "percent": round(100 * done / total, 1) if total else None,
            "started_at": self.started_at,
            "took_s": round(until_at - self.began_at, 3),
            "cause": self.fault and attrs.asdict(self.fault.cause),
        }

    def note(self, progress: PullProgress) -> None:
        self.progress = progress
        self._wake()

    def end(self, fault: RuntimeFault | None) -> None:
        self.fault = fault
        self.ended_at = trio.current_time()
        self._ended.set()
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def wait(self) -> None:
        """Wait for the image.

        Raises:
            RuntimeFault: it does not come, and why.
        """
        self.followers += 1
        try:
            await self._ended.wait()
        finally:
            self.followers -= 1
        if self.fault is not None:
            raise self.fault

    async def steps(self) -> AsyncGenerator["Pull", None]:
        """Yield itself now, then now and then while something changes, and last when it is over."""
        self.followers += 1
        try:
            while self.ended_at is None:
                moved = self._moved
                yield self
                await moved.wait()
                with trio.move_on_after(STEPS_S):
                    await self._ended.wait()
            yield self
        finally:
            self.followers -= 1


class Pulls:
    """Fetches images, each once at a time.

    Args:
        images: what fetches them.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._nursery: trio.Nursery | None = None
        self._pulls: dict[str, Pull] = {}
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be where pulls live, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    @property
    def known(self) -> Mapping[str, Pull]:
        """The last pull of each image, running or ended."""
        return self._pulls

    async def is_here(self, image: str) -> bool:
        """Tell whether an image is here.

        Raises:
            RuntimeUnreachable: nobody knows.
        """
        try:
            await self._images.check(image)
        except RuntimeFault as fault:
            if fault.cause.kind == "image_missing":
                return False
            raise
        return True

    def begin(self, image: str) -> Pull:
        """Return the pull of an image: that which runs, or a new one.

        Raises:
            RuntimeFault: too many run already, or all is ending.
        """
        known = self._pulls.get(image)
        if known is not None and known.ended_at is None:
            return known
        if self._closed:
            raise RuntimeFault(Cause("pull_cancelled", f"{image}: the proxy is stopping"))
        self._pulls.pop(image, None)
        self._make_room(image)
        pull = self._pulls[image] = Pull(image)
        assert self._nursery is not None
        self._nursery.start_soon(self._run, pull)
        return pull

    def cancel(self, image: str) -> bool:
        """Cancel the pull of an image; return whether one was running."""
        pull = self._pulls.get(image)
        if pull is None or pull.ended_at is not None:
            return False
        pull.scope.cancel()
        return True

    def close(self) -> None:
        """Cancel all, and begin none any more."""
        self._closed = True
        for image in self._pulls:
            self.cancel(image)

    def _make_room(self, image: str) -> None:
        """Forget the oldest that has ended.

        Raises:
            RuntimeFault: none has, and there are enough.
        """
        if len(self._pulls) < KEPT:
            return
        ended = next((one for one in self._pulls.values() if one.ended_at is not None), None)
        if ended is None:
            raise RuntimeFault(
                Cause("pull_failed", f"{image}: {KEPT} images are being fetched already")
            )
        del self._pulls[ended.image]

    async def _run(self, pull: Pull) -> None:
        fault: RuntimeFault | None = None
        with pull.scope:
            async with self._limiter:
                logger.info("pulling {}", pull.image)
                try:
                    await self._images.pull(pull.image, pull.note)
                except RuntimeFault as caught:
                    fault = caught
        if pull.scope.cancelled_caught:
            fault = RuntimeFault(Cause("pull_cancelled", f"{pull.image}: the pull was cancelled"))
        pull.end(fault)
        told = pull.as_json()
        if fault is None:
            took = f"{told['done'] >> 20} MiB in {told['took_s']:.1f} s"
            logger.info("pulled {}: {}", pull.image, took)
        else:
            logger.warning("{} was not pulled: {}", pull.image, fault)
