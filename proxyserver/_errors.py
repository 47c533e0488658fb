"""One plain error out of the groups that Trio's nurseries make."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


def run_plainly(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run Trio; an error that came alone is raised alone, however many nurseries it came through.

    Raises:
        BaseException: whatever `main` raised; a group where several things failed at once.
    """
    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
