"""Where the daemon is that a command asks, and by which key it lets itself be asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Parameter

from ._command import FAILED, NOT_READY, UNREACHABLE, USAGE, CommandFailed, fail

if TYPE_CHECKING:
    from .client import Client

KEY_VARIABLE = "AIPROXY_API_KEY"


@Parameter(name="*")
@attrs.frozen
class At:
    """The options of every command that asks a daemon.

    There is none for the key itself: whoever lists the programs of a machine would see it.
    """

    url: Annotated[
        str, Parameter(name="--url", env_var="AIPROXY_URL", help="Where the daemon is.")
    ] = "http://127.0.0.1:8787"
    key_file: Annotated[
        Path | None,
        Parameter(name="--key-file", help=f"Has the API key; default: ${KEY_VARIABLE} is the key."),
    ] = None

    def key(self) -> str | None:
        """Return the key; None: there is none to show.

        Raises:
            CommandFailed: the file cannot be read, or there is no key in it.
        """
        if self.key_file is None:
            return os.environ.get(KEY_VARIABLE) or None
        try:
            key = self.key_file.read_text("latin-1").strip()
        except OSError as error:
            fail(f"--key-file {self.key_file}: {error.strerror}", USAGE)
        if not key.isascii() or not key.isprintable() or not key or " " in key:
            fail(f"--key-file {self.key_file}: has no key in its only line", USAGE)
        return key


HERE = At()


@contextmanager
def daemon_at(at: At) -> "Iterator[Client]":
    """Yield a client; its errors become exit codes.

    Raises:
        CommandFailed: the daemon is not there, or did not do it.
    """
    from .client import Client, DaemonRefused, DaemonUnreachable

    try:
        yield Client(at.url, at.key())
    except DaemonUnreachable as error:
        raise CommandFailed(UNREACHABLE, f"aiproxy: {error}") from None
    except DaemonRefused as error:
        code = NOT_READY if error.status == 504 else FAILED
        raise CommandFailed(code, f"aiproxy: {error}") from None
