"""The real llama-server with a small real model: as a program and in a container."""

import os
import sys
from functools import partial
from pathlib import Path

import attrs
import trio

from proxyserver.parts import LlamaParts, fetch_llama
from proxyserver.runtime import Mount

from .borrowed import borrow, import_borrower

LLAMA_IMAGE = "aiproxy-rig/llama-server:1"
LLAMA_PORT = 8080
# Small and quick on two cores: no GPU, no fitting of layers, no page of its own.
LLAMA_FLAGS = tuple("-t 1 -c 2048 -np 1 -ngl 0 --device none -fit off --no-warmup --no-ui".split())
OWN_SERVER = "AIPROXY_TEST_LLAMA_SERVER"
"""Names a llama-server to run the tests with, in the place of the one that is fetched."""
_REPOSITORY = Path(__file__).parents[2]


@attrs.frozen
class Llama:
    """The parts, and how they are put together."""

    parts: LlamaParts

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        return (("LD_LIBRARY_PATH", self.parts.library_path),)

    def arguments(self, host: str, port: int | str, model: Path | None = None) -> tuple[str, ...]:
        """Return all words after the program."""
        address = ("--host", host, "--port", str(port))
        return ("-m", str(model or self.parts.model), *address, *LLAMA_FLAGS)

    def command(self, model: Path | None = None) -> tuple[str, ...]:
        """Return the command line of a process service."""
        return (str(self.parts.server), *self.arguments("127.0.0.1", "${PORT}", model))

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What the container needs of this machine; see `import_llama`."""
        parts = [self.parts.server.parent, self.parts.model.parent]
        parts += [Path(folder) for folder in self.parts.library_path.split(":") if folder]
        # The portable server is a Python extension that a script of ours calls.
        return borrow([Path(sys.prefix), Path(sys.base_prefix), _REPOSITORY, *parts])


def find_llama(cache: Path) -> Llama:
    """Return the real server, fetched if need be.

    Raises:
        PartsMissing: it cannot be had here.
    """
    parts = trio.run(fetch_llama, cache)
    if own := os.environ.get(OWN_SERVER):
        parts = attrs.evolve(parts, server=Path(own).absolute(), library_path="")
    return Llama(parts)


def find_portable_llama(cache: Path) -> Llama:
    """Return the newest build that the tests know, which has no router mode.

    Raises:
        PartsMissing: it cannot be had here.
    """
    return Llama(trio.run(partial(fetch_llama, cache, portable=True)))


def import_llama(host: str, llama: Llama) -> str:
    """Make an image that runs the real server, with `Llama.mounts`, and return its tag."""
    environment = dict(llama.environment)
    return import_borrower(host, LLAMA_IMAGE, llama.parts.server, LLAMA_PORT, environment)
