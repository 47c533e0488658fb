"""Fake GPUs (fake_gpu.h): a folder that the fake NVML library reads, with a hand in it."""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from .mock import build

GIB = 1 << 30
RESERVED = GIB // 2
"""What the fake driver keeps of each GPU."""
LIBRARY = "libnvidia-ml.so.1"

# <nvml.h>
ERROR_NOT_SUPPORTED = 3
ERROR_NO_PERMISSION = 4
ERROR_DRIVER_NOT_LOADED = 9
ERROR_GPU_IS_LOST = 15
ERROR_VERSION_MISMATCH = 18
ERROR_UNKNOWN = 999


def build_fake_nvml(cache: Path) -> Path:
    """Compile the library; return the folder that LD_LIBRARY_PATH needs.

    Raises:
        CompilerMissing: there is no C compiler.
    """
    flags = ["-shared", "-fPIC", "-fvisibility=hidden", f"-Wl,-soname,{LIBRARY}"]
    library = build(cache, "fake_nvml.c", flags)
    folder = cache / f"{library.name}.d"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):  # Another test session may have been faster.
        (folder / LIBRARY).symlink_to(library.absolute())
    return folder


def load_fake_nvml(folder: Path) -> None:
    """Load the library into this process: whoever asks for its name from now on gets it.

    Raises:
        AssertionError: a real one was loaded before.
    """
    import pynvml

    ctypes.CDLL(str(folder / LIBRARY))
    pynvml._LoadNvmlLibrary()
    assert pynvml.nvmlSystemGetDriverVersion() == "fake", "a real driver was loaded before"


@attrs.frozen
class FakeGpus:
    """The GPUs of a test; all may change at any time."""

    folder: Path
    library: Path
    """The folder of the library."""

    def environment(self) -> dict[str, str]:
        """Return what a process needs to see them."""
        return {"FAKE_NVML_DIR": str(self.folder), "LD_LIBRARY_PATH": str(self.library)}

    def plug(self, *totals: int, buses: tuple[int, ...] = (), figures: bool = True) -> None:
        """Be a machine with GPUs of so many bytes, named A, B, ... in NVML's order."""
        lines = [
            f"gpu pci={bus} total={total} reserved={RESERVED} figures={figures:d}"
            f" uuid=GPU-{name} name=Fake {name}\n"
            for total, bus, name in zip(totals, buses or range(16), "ABCDEFGH", strict=False)
        ]
        (self.folder / "alloc").mkdir(exist_ok=True)
        (self.folder / "gpus").write_text("".join(lines))

    def be(self, gpu: int, *, percent: int, celsius: int, milliwatts: int) -> None:
        """Let one GPU have sensors that say this; the others have none."""
        (self.folder / "vitals").write_text(f"{gpu} {percent} {celsius} {milliwatts}\n")

    def unload(self) -> None:
        """Be a machine without a driver."""
        (self.folder / "gpus").unlink()

    def fail(self, function: str, error: int, gpu: int | str = "*", delay_ms: int = 0) -> None:
        """Let calls of a function (`*`: of any) fail or take their time, until `mend`."""
        half = self.folder / ".faults"
        half.write_text(f"{function} {gpu} {error} {delay_ms}\n")
        half.rename(self.folder / "faults")

    def mend(self) -> None:
        (self.folder / "faults").unlink()

    def hold(self, pid: int, amounts: Mapping[int, int]) -> Path:
        """Let a process hold memory, by number of the GPU, until the file is removed."""
        path = self.folder / "alloc" / f"pid{pid}.static"
        path.write_text("".join(f"{gpu} {amount}\n" for gpu, amount in amounts.items()))
        return path

    @contextlib.contextmanager
    def locked(self, pid: int, amounts: Mapping[int, int]) -> Iterator[None]:
        """Let a process hold memory as servers do, as long as the lock is held."""
        path = self.hold(pid, amounts).rename(self.folder / "alloc" / f"pid{pid}")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
