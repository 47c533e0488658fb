"""Which runtimes can be reached: they are watched, and a lost one is asked until it answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import trio
from loguru import logger

from proxycore import Event, RuntimeFound, RuntimeLost, ServiceId

from ._adoption import remove
from ._run import UNREACHABLE_RETRY_S
from ._slot import RuntimeState
from .runtime import FoundProcess, Runtime, RuntimeFault
from .settings import Service


@attrs.define(eq=False)
class Reach:
    """Knows of each runtime whether it answers, and tells when that changes."""

    _runtimes: Mapping[str, Runtime]
    _services: Mapping[ServiceId, Service]
    _tell: Callable[[Event], None]
    _is_known: Callable[[Runtime, FoundProcess], bool]
    """Tells whether something found is a run of this life; what is not, is removed."""
    _states: dict[str, RuntimeState] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    @property
    def states(self) -> Mapping[str, RuntimeState]:
        return dict(self._states)

    async def begin(self, name: str, nursery: trio.Nursery) -> Sequence[FoundProcess]:
        """Ask a runtime for the first time; return what is found there: nothing, if it is lost.

        Args:
            name: which.
            nursery: where lost ones are waited for.
        """
        self._nursery = nursery
        runtime = self._runtimes[name]
        self._states[name] = RuntimeState(True, "not asked yet")
        try:
            self._states[name] = RuntimeState(True, await runtime.check())
            return await runtime.found()
        except RuntimeFault as fault:
            self.lose(name, str(fault))
            return ()

    async def add(self, name: str) -> None:
        """Know one more runtime; what is found there is of an earlier life, and is removed."""
        assert self._nursery is not None
        for one in await self.begin(name, self._nursery):
            await remove(self._runtimes[name], one)
        self._nursery.start_soon(self.watch, (name,))

    async def watch(self, names: Iterable[str]) -> None:
        """Watch some runtimes; never returns, unless there is none."""
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self._watch, name, self._runtimes[name])

    async def _watch(self, name: str, runtime: Runtime) -> None:
        def changed(ok: bool, message: str) -> None:
            if not ok:
                self.lose(name, message)

        await runtime.watch(changed)

    def lose(self, name: str, message: str) -> None:
        """Tell the core that a runtime is out of reach, and begin to wait for it."""
        if not self._states[name].ok:
            return
        logger.warning("{} cannot be reached: {}", name, message)
        self._states[name] = RuntimeState(False, message)
        self._tell(RuntimeLost(self._services_on(name), message))
        assert self._nursery is not None
        self._nursery.start_soon(self._find_again, name, self._runtimes[name])

    async def _find_again(self, name: str, runtime: Runtime) -> None:
        """Ask until the runtime answers; then remove what nobody knows, and tell the core."""
        while True:
            await trio.sleep(UNREACHABLE_RETRY_S)
            try:
                message = await runtime.check()
                found = await runtime.found()
            except RuntimeFault:
                continue
            break
        for one in found:
            if not self._is_known(runtime, one):
                await remove(runtime, one)
        logger.info("{} can be reached again: {}", name, message)
        self._states[name] = RuntimeState(True, message)
        self._tell(RuntimeFound(self._services_on(name)))

    def tell_again(self) -> None:
        """Tell which services cannot be reached: some may be new, or run by another runtime."""
        for name, state in self._states.items():
            if not state.ok:
                self._tell(RuntimeLost(self._services_on(name), state.message))
            else:
                self._tell(RuntimeFound(self._services_on(name)))

    def _services_on(self, name: str) -> tuple[ServiceId, ...]:
        return tuple(key for key, service in self._services.items() if service.runtime == name)
