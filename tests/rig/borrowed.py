"""Images that borrow their programs from this machine.

Such an image is an empty root, onto which folders are mounted: that takes no time and no room.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from proxyserver.runtime import Mount

from .mock import import_image

SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/lib", "/lib64"))


def borrow(folders: Iterable[Path]) -> tuple[Mount, ...]:
    """Return the mounts of these folders and of the system's, each where it is, read-only."""
    present = {str(folder) for folder in (*SYSTEM, *folders) if folder.is_dir()}
    return tuple(
        Mount(folder, folder, read_only=True)
        for folder in sorted(present)
        if not any(str(parent) in present for parent in Path(folder).parents)
    )


def import_borrower(
    host: str, tag: str, program: Path, port: int, environment: Mapping[str, str]
) -> str:
    """Make an image that runs a program of this machine and return its tag."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    changes = [f'ENTRYPOINT ["{program}"]', f"EXPOSE {port}", "ENV HOME=/tmp"]
    changes += [f"ENV {name}={value}" for name, value in environment.items() if value]
    return import_image(host, tag, tar.getvalue(), changes)
