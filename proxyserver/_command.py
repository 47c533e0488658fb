"""What commands share: how they fail, and how they answer programs."""

import json
from collections.abc import Iterable
from typing import Annotated, NoReturn

from cyclopts import Parameter

FAILED, USAGE, UNREACHABLE, NOT_READY, DIFFERS = 1, 2, 3, 4, 5

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Answer for programs.")]


class CommandFailed(Exception):
    """Ends a command with words for standard error and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command.

    Raises:
        CommandFailed: always.
    """
    raise CommandFailed(code, f"aiproxy: {message}")
