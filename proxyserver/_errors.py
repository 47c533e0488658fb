"""One plain error out of the groups that Trio's nurseries make."""

from collections.abc import Callable
from typing import Any

import trio


def run_plainly(main: Callable[..., Any], *args: object) -> None:
    """Run Trio; an error that came alone is raised alone, however many nurseries it came through.

    Raises:
        BaseException: whatever `main` raised; a group where several things failed at once.
    """
    try:
        trio.run(main, *args)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
