"""What the conductor hands out: places at runs, and what it knows of runtimes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic

import attrs

from proxycore import RunId, ServiceId, TicketId

from ._run import C, C_co


@attrs.define(eq=False)
class Slot(Generic[C_co]):
    """A place at a run, for one request."""

    service: ServiceId
    run: RunId
    connections: C_co
    ticket: TicketId


class Place(AbstractAsyncContextManager[Slot[C]], Generic[C]):
    """Has a slot while its block lasts.

    A class, because one made by a generator costs more than the rest of a request's wait.
    """

    def __init__(
        self, take: Callable[[], Awaitable[Slot[C]]], leave: Callable[[TicketId], None]
    ) -> None:
        self._take = take
        self._leave = leave
        self._slot: Slot[C] | None = None

    async def __aenter__(self) -> Slot[C]:
        self._slot = await self._take()
        return self._slot

    async def __aexit__(self, *_: object) -> None:
        assert self._slot is not None, "the block was entered"
        self._leave(self._slot.ticket)


@attrs.frozen
class RuntimeState:
    """Whether what runs things can be reached."""

    ok: bool
    message: str
