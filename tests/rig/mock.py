"""The rig's programs in C, compiled once; the scripted server also as an image."""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker

FOLDER = Path(__file__).parent
MOCK_IMAGE = "aiproxy-rig/mock:1"
MOCK_PORT = 8080


class CompilerMissing(Exception):
    """The scripted parts cannot be compiled; the message says what to install."""


def build_mock(cache: Path) -> Path:
    """Compile the mock server, unless the same source was compiled before.

    Raises:
        CompilerMissing: there is no C compiler.
    """
    # Static, so that the program alone is a whole image.
    return build(cache, "mockserver.c", ["-static", "-pthread"])


def build(cache: Path, source: str | Path, more_flags: list[str]) -> Path:
    """Compile a source of this folder, unless it and the headers beside it were compiled so before.

    Raises:
        CompilerMissing: there is no C compiler.
    """
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-s", *more_flags]
    seen = hashlib.sha256(" ".join(flags).encode())
    file = FOLDER / source
    for path in (file, *sorted(file.parent.glob("*.h"))):
        seen.update(path.read_bytes())
    binary = cache / f"{file.stem}-{seen.hexdigest()[:12]}"
    if binary.exists():
        return binary
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CompilerMissing("no C compiler: apt-get install -y gcc libc6-dev")
    cache.mkdir(parents=True, exist_ok=True)
    half_made = binary.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, *flags, "-o", half_made, file], check=True)
    half_made.rename(binary)  # At once: another test session may be looking.
    return binary


def import_image(host: str, tag: str, tar: bytes, changes: list[str]) -> str:
    """Make an image of a root folder, through the API: no command-line client, no build."""
    repository, _, version = tag.partition(":")
    with contextlib.closing(docker.DockerClient(base_url=host)) as client:
        client.api.import_image_from_data(tar, repository=repository, tag=version, changes=changes)
    return tag


def import_mock(host: str, binary: Path) -> str:
    """Make an image of the mock server and return its tag."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.add(binary, arcname="mockserver")
    changes = ['ENTRYPOINT ["/mockserver"]', f"EXPOSE {MOCK_PORT}"]
    return import_image(host, MOCK_IMAGE, tar.getvalue(), changes)
