"""The real llama-server with a small real model: as a program and in a container."""

import io
import os
import sys
import tarfile
from functools import partial
from pathlib import Path

import attrs
import trio

from proxyserver.parts import LlamaParts, fetch_llama
from proxyserver.runtime import Mount

from .mock import import_image

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
        system = [Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64")]
        # The portable server is a Python extension that a script of ours calls.
        python = [Path(sys.prefix), Path(sys.base_prefix), _REPOSITORY]
        folders = [*system, *python, *parts]
        present = {str(folder) for folder in folders if folder.is_dir()}
        return tuple(
            Mount(folder, folder, read_only=True)
            for folder in sorted(present)
            if not any(str(parent) in present for parent in Path(folder).parents)
        )


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
    """Make an image that runs the real server and return its tag.

    The image is an empty root folder: program, libraries and model are mounted from this machine
    (`Llama.mounts`), which takes no time and suits every build of the server.
    """
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    changes = [f'ENTRYPOINT ["{llama.parts.server}"]', f"EXPOSE {LLAMA_PORT}", "ENV HOME=/tmp"]
    changes += [f"ENV {name}={value}" for name, value in llama.environment if value]
    return import_image(host, LLAMA_IMAGE, tar.getvalue(), changes)
