"""Work with something going on beside it, such as following a log."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def beside(
    background: Callable[[], Awaitable[object]] | None, work: Callable[[], Awaitable[T]]
) -> T:
    """Return what the work returns, or raise what it raises; what goes on beside it ends with it.

    Out of a nursery that would come as a group of exceptions, which nobody expects.
    """
    if background is None:
        return await work()
    fault: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(background)
        try:
            result = await work()
        except Exception as error:
            fault = error
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return result
