"""Calls when a deadline has come that may move at any time, earlier or later."""

from collections.abc import Callable
from math import inf

import attrs
import trio


@attrs.define(eq=False)
class Ticker:
    """Watches one deadline."""

    _deadline: Callable[[], float | None]
    """Tells it, on Trio's clock; None: there is none."""
    _tick: Callable[[], None]
    """Is called when it has come; then it must have moved."""
    _at: float = 0.0
    _sooner: trio.Event = attrs.field(factory=trio.Event)

    def note(self) -> None:
        """Take note that the deadline may have moved; that costs next to nothing."""
        deadline = self._deadline()
        if deadline is not None and deadline < self._at:
            self._sooner.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            deadline = self._deadline()
            self._at = inf if deadline is None else deadline
            self._sooner = trio.Event()
            with trio.move_on_at(self._at):
                await self._sooner.wait()
            deadline = self._deadline()
            if deadline is not None and deadline <= trio.current_time():
                self._tick()
