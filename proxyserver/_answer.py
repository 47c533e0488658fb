"""What somebody who holds a ticket waits for: what the core will say about it."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeAlias

import attrs
import trio

from ._beside import beside
from ._model_run import ModelRun
from ._run import C, Run
from .refused import Refused

Meanwhile: TypeAlias = Callable[[], Awaitable[None]]
"""What is done while somebody waits."""


@attrs.define(eq=False)
class Answer(Generic[C]):
    """What the core will say about one ticket."""

    run: Run[C] | ModelRun[C] | None = None
    """Not only its number: it may be gone again before the one who asked gets his turn."""
    refused: Refused | None = None
    request: str | None = None
    """The id of the request that has the ticket, if it is one."""
    _said: bool = False
    _heard: trio.Event | None = None
    """For who has to wait: most are answered at once."""

    def say(
        self, *, run: Run[C] | ModelRun[C] | None = None, refused: Refused | None = None
    ) -> None:
        self.run, self.refused = run, refused
        self._said = True
        if self._heard is not None:
            self._heard.set()

    async def wait(self, meanwhile: Meanwhile | None = None) -> Run[C] | ModelRun[C]:
        if not self._said:
            self._heard = trio.Event()
            await beside(meanwhile, self._heard.wait)
        if self.refused is not None:
            raise self.refused
        assert self.run is not None
        return self.run
