"""What somebody who holds a ticket waits for: what the core will say about it."""

from typing import Generic

import attrs
import trio

from ._model_run import ModelRun
from ._run import C, Run
from .refused import Refused


@attrs.define(eq=False)
class Answer(Generic[C]):
    """What the core will say about one ticket."""

    said: trio.Event = attrs.field(factory=trio.Event)
    run: Run[C] | ModelRun[C] | None = None
    """Not only its number: it may be gone again before the one who asked gets his turn."""
    refused: Refused | None = None
    request: str | None = None
    """The id of the request that has the ticket, if it is one."""

    def say(
        self, *, run: Run[C] | ModelRun[C] | None = None, refused: Refused | None = None
    ) -> None:
        self.run, self.refused = run, refused
        self.said.set()

    async def wait(self) -> Run[C] | ModelRun[C]:
        if not self.said.is_set():  # Most are said at once: they need not wait for their turn.
            await self.said.wait()
        if self.refused is not None:
            raise self.refused
        assert self.run is not None
        return self.run
