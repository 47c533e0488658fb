"""One model inside a server, from its load to its unload: asked for, watched and ended here."""

import math
from collections.abc import Callable
from functools import partial
from typing import Generic

import attrs
import trio
from loguru import logger

from proxycore import Cause, Event, RunAlive, RunId, RunReady

from ._ask import NoAnswer
from ._beside import beside
from ._run import C, Run
from .milestones import Milestones
from .readiness import ALIVE_EVERY_S, follow_log
from .runtime import Endpoint, ExitReport, Runtime
from .settings import Service
from .templates import ModelState, ModelStatus

POLL_S = 0.05
"""A load takes a second or more, and a server answers such a question in a millisecond."""
WATCH_S = 2.0
"""A model that ended by itself is noticed by its requests, too."""
SETTLE_S = 1.0
"""So long after the order a failure that is told may still be that of an earlier load."""


@attrs.define(eq=False)
class ModelRun(Generic[C]):
    """One load of one model, with the task that owns it; it ends with its host's run at the latest.

    What the server does not answer says nothing of the model: its own probes judge the server.
    """

    service: Service
    id: RunId
    host: Run[C]
    report: ExitReport | None = None
    """How it failed, if it has."""
    milestones = Milestones(inside=True)
    progress: float | None = None
    """How much of its load is done, from 0 to 1; None: nobody tells, or it is over."""
    _living: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Cancelled when it shall be unloaded."""

    @classmethod
    def inside(cls, host: "Run[C] | ModelRun[C]", service: Service, run: RunId) -> "ModelRun[C]":
        """Return a load of the model that is about to begin, in a run of its host."""
        assert isinstance(host, Run)
        return cls(service, run, host)

    @property
    def connections(self) -> C | None:
        """Those to its host."""
        return self.host.connections

    @property
    def endpoint(self) -> Endpoint | None:
        """That of its host."""
        return self.host.endpoint

    @property
    def runtime(self) -> Runtime:
        """What runs its host."""
        return self.host.runtime

    def stop(self, grace_s: float) -> None:
        """Let `live` unload the model; it may not have begun yet."""
        self._living.cancel()

    def kill(self) -> None:
        """Do nothing: the core never asks that of a model, and stops its host instead."""

    async def live(
        self, tell: Callable[[Event], None], lose: Callable[[str], None]
    ) -> Cause | None:
        """Load the model and stay with it until it is unloaded.

        Args:
            tell: is told that the model is loaded.
            lose: as for other runs; a model is in no runtime, so nothing is told.

        Returns:
            Why it ended; None: its host did, which says it all.
        """
        cause: Cause | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_host, nursery.cancel_scope)
            with self._living:
                cause = await self._load(tell)
                if cause is None:
                    cause = await self._watch()
                self.report = ExitReport(cause, None, False, ())
            if cause is None:
                await self._unload()
                cause = Cause("stopped", "unloaded")
            nursery.cancel_scope.cancel()
        return None if self.host.over.is_set() else cause

    async def forget(self) -> None:
        """Leave nothing behind; a model does not."""

    async def _end_with_host(self, scope: trio.CancelScope) -> None:
        await self.host.over.wait()
        scope.cancel()

    async def _load(self, tell: Callable[[Event], None]) -> Cause | None:
        """Return when it is loaded; else why it cannot be."""
        model = self.service.model
        ordered_at: float | None = None
        was_loading = False
        while True:
            status = await self._status()
            match status.state if status else None:
                case ModelState.LOADED:
                    self.progress = None
                    tell(RunReady(self.service.spec.id, self.id))
                    return None
                case ModelState.LOADING:
                    was_loading = True
                case ModelState.MISSING:
                    return Cause("model_missing", f"{self._place} has no model {model!r}", False)
                case ModelState.UNLOADED | ModelState.FAILED if ordered_at is None:
                    try:
                        fault = await self._order(tell)
                    except NoAnswer as error:
                        # It may go on all the same, so it is asked for once more.
                        logger.debug("{} run {}: {}", self.service.spec.id, self.id, error)
                    else:
                        if fault is not None:
                            return self._failed(f"could not be loaded: {fault}")
                        ordered_at = trio.current_time()
                        continue
                case ModelState.UNLOADED | ModelState.FAILED if status is not None:
                    if was_loading or trio.current_time() >= (ordered_at or 0.0) + SETTLE_S:
                        return self._failed(f"could not be loaded{status.message}")
                case _:
                    pass
            await trio.sleep(POLL_S)

    async def _order(self, tell: Callable[[Event], None]) -> str | None:
        """Have the model loaded, and tell of signs of life; return why that has failed.

        Raises:
            NoAnswer: it was not heard, or is not told what comes of it.
        """
        told_at = -math.inf

        def alive() -> None:
            tell(RunAlive(self.service.spec.id, self.id))

        def told(progress: float) -> None:
            nonlocal told_at
            moves = progress != self.progress
            self.progress = min(max(progress, 0.0), 1.0)
            if moves and trio.current_time() - told_at >= ALIVE_EVERY_S:
                told_at = trio.current_time()
                alive()

        server, endpoint, host = self.service.models, self.host.endpoint, self.host
        assert server is not None
        assert endpoint is not None
        return await beside(
            # Not every server tells how far it is, but most write about it.
            partial(follow_log, host.service.spec.id, host.id, host.runtime, alive=alive),
            partial(server.load, endpoint, self.service.model, told),
        )

    def _failed(self, what: str) -> Cause:
        message = f"{self.service.model!r} {what}; the log of {self._place} tells more"
        return Cause("load", message)

    async def _watch(self) -> Cause:
        """Return when the model is not loaded any more, though nobody asked for that."""
        while True:
            await trio.sleep(WATCH_S)
            status = await self._status()
            if status is not None and status.state is not ModelState.LOADED:
                message = f"{self.service.model!r} ended by itself{status.message}"
                return Cause("exit", f"{message}; the log of {self._place} tells more")

    async def _unload(self) -> None:
        """Return when it is unloaded; ask again where that was not heard."""
        gone = (ModelState.UNLOADED, ModelState.FAILED, ModelState.MISSING)
        while (status := await self._status()) is None or status.state not in gone:
            if status is not None:
                await self._order_unload()
            await trio.sleep(POLL_S)

    async def _order_unload(self) -> None:
        server, endpoint = self.service.models, self.host.endpoint
        assert server is not None
        assert endpoint is not None
        try:
            await server.unload(endpoint, self.service.model)
        except NoAnswer as error:
            logger.debug("{} run {}: {}", self.service.spec.id, self.id, error)

    async def _status(self) -> ModelStatus | None:
        """Ask how the model is; None: no answer."""
        server, endpoint = self.service.models, self.host.endpoint
        assert server is not None
        assert endpoint is not None
        try:
            return await server.status(endpoint, self.service.model)
        except NoAnswer as error:
            logger.debug("{} run {}: {}", self.service.spec.id, self.id, error)
            return None

    @property
    def _place(self) -> str:
        return str(self.host.service.spec.id)
