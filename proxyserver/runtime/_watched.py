"""A runtime of another package, watched: whatever goes wrong in it is a fault of its services."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import Any, TypeVar

import attrs
import trio
from loguru import logger

from proxycore import Cause, Placement, RunId, ServiceId

from ._logs import clean_line
from ._protocol import (
    Endpoint,
    ExitReport,
    FoundProcess,
    LaunchSpec,
    RunFacts,
    Runtime,
    RuntimeFault,
    RuntimeUnreachable,
)

T = TypeVar("T")

KIND = "runtime_broken"
RETRY_S = 1.0


@attrs.define(eq=False)
class WatchedRuntime:
    """Lets nothing out of somebody's runtime but what the contract allows.

    It is made when it is first needed, and again until that works: one that cannot be made is as an
    engine out of reach.  What goes wrong is logged once for each kind of fault.
    """

    name: str
    _make: Callable[[], Runtime]
    _made: Runtime | None = attrs.field(default=None, init=False)
    _told: set[str] = attrs.field(factory=set, init=False)

    async def check(self) -> str:
        return await self._asked("check", lambda inner: inner.check(), str)

    async def watch(self, changed: Callable[[bool, str], None]) -> None:
        """Watch as long as the plug-in does; after that, losses show where it is used."""
        try:
            await self._called("watch", lambda inner: inner.watch(changed))
        except RuntimeFault as fault:
            changed(False, str(fault))
        await trio.sleep_forever()

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        return await self._called(
            "start", lambda inner: inner.start(spec, run, placement), Endpoint
        )

    async def owns(self, service: ServiceId, run: RunId, endpoint: Endpoint) -> bool:
        return await self._called("owns", lambda inner: inner.owns(service, run, endpoint), bool)

    async def stop(self, service: ServiceId, run: RunId, grace_s: float) -> None:
        await self._called("stop", lambda inner: inner.stop(service, run, grace_s))

    async def kill(self, service: ServiceId, run: RunId) -> None:
        await self._called("kill", lambda inner: inner.kill(service, run))

    async def wait_gone(self, spec: LaunchSpec, run: RunId) -> ExitReport:
        """Wait for the end of the run; one that nobody can watch is ended."""
        while True:
            try:
                return await self._called(
                    "wait_gone", lambda inner: inner.wait_gone(spec, run), ExitReport
                )
            except RuntimeFault as fault:
                if fault.cause.kind != KIND:
                    raise
                report = ExitReport(fault.cause, None, False, ())
            try:
                await self.kill(spec.service, run)
                return report
            except RuntimeFault:
                await trio.sleep(RETRY_S)

    async def forget(self, service: ServiceId, run: RunId) -> None:
        await self._called("forget", lambda inner: inner.forget(service, run))

    async def found(self) -> Sequence[FoundProcess]:
        found = await self._asked("found", lambda inner: inner.found(), Sequence)
        for one in found:
            if not isinstance(one, FoundProcess):
                raise self._unreachable(f"found returned {one!r:.80}")
        return found

    async def facts(self, service: ServiceId, run: RunId) -> RunFacts | None:
        return await self._called(
            "facts", lambda inner: inner.facts(service, run), (RunFacts, type(None))
        )

    async def whose(self, pids: Collection[int]) -> Mapping[int, RunId]:
        return await self._called("whose", lambda inner: inner.whose(pids), Mapping)

    async def log_lines(
        self, service: ServiceId, run: RunId, *, tail: int, follow: bool
    ) -> AsyncIterator[str]:
        """Yield its lines, cleaned; one that breaks off is as one that has ended."""
        try:
            lines = self._inner().log_lines(service, run, tail=tail, follow=follow)
            if not isinstance(lines, AsyncGenerator):
                raise TypeError(f"it returned no asynchronous generator but {lines!r:.80}")
            async with aclosing(lines):
                async for line in lines:
                    yield clean_line(str(line))
        except RuntimeFault:
            raise
        except Exception as error:
            self._fault("log_lines", error)

    def _inner(self) -> Runtime:
        if self._made is None:
            try:
                self._made = self._make()
            except Exception as error:  # Anybody's code.
                raise self._unreachable(f"it cannot be made: {error!r}") from error
        return self._made

    async def _asked(self, what: str, call: Callable[[Runtime], Awaitable[T]], wanted: Any) -> T:
        """Make a call that only fails when the runtime is out of reach.

        Raises:
            RuntimeUnreachable: so it is, or it is broken.
        """
        try:
            return await self._called(what, call, wanted)
        except RuntimeUnreachable:
            raise
        except RuntimeFault as fault:
            raise RuntimeUnreachable(fault.cause) from fault

    async def _called(
        self, what: str, call: Callable[[Runtime], Awaitable[T]], wanted: Any = object
    ) -> T:
        """Make a call.

        Raises:
            RuntimeFault: it says so itself, or it is broken.
        """
        try:
            answer = await call(self._inner())
        except RuntimeFault:
            raise
        except Exception as error:  # Anybody's code.
            raise self._fault(what, error) from error
        except BaseExceptionGroup as group:
            # Faults beside a cancellation: that goes on its way, they must not.
            faults, rest = group.split(Exception)
            if faults is not None:
                self._fault(what, faults)
            if rest is not None:
                raise rest from None
            raise
        if not isinstance(answer, wanted):
            raise self._fault(what, TypeError(f"it returned {answer!r:.80}"))
        return answer

    def _fault(self, what: str, error: BaseException) -> RuntimeFault:
        message = f"the runtime {self.name!r} is broken: {what}: {error!r:.500}"
        if (key := f"{what} {type(error).__name__}") not in self._told:
            self._told.add(key)
            logger.opt(exception=error).error("{} (said once)", message)
        return RuntimeFault(Cause(KIND, message))

    def _unreachable(self, why: str) -> RuntimeUnreachable:
        return RuntimeUnreachable(Cause(KIND, f"the runtime {self.name!r} is broken: {why}"))
