"""What the data path is measured on: the proxy in two forms, its references, others by command."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import attrs

from proxyserver.runtime._ports import free_port
from tests.daemon.rig import Daemon

from ._harness import ROOT
from ._http import NoAnswer, wait_answering
from ._load import LoadFailed, Upstream, family, pin

INSTALL = "apt-get install -y nginx-light haproxy"
MODEL = "m"
END_S = 10.0
OTHER_S = 90.0
"""Some load for half a minute before they listen."""


class ReferenceMissing(Exception):
    """A proxy to compare with is not installed; the text says what to do."""


@attrs.frozen
class Target:
    """A proxy that listens."""

    name: str
    port: int
    pid: int

    @property
    def pids(self) -> str:
        """All its processes, as the load generator wants them."""
        return ",".join(map(str, family(self.pid)))

    def pin(self, processor: int) -> None:
        """Put all of it on one processor."""
        pin(family(self.pid), processor)

    def forget_peak(self) -> None:
        """Let the kernel count the largest size (`VmHWM`) anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def status(self, key: str) -> int:
        """Return a size that the kernel keeps of its first process, in KiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


Runner: TypeAlias = Callable[[Upstream, Path], contextlib.AbstractContextManager[Target]]


@contextmanager
def path_alone(upstream: Upstream, folder: Path) -> Iterator[Target]:
    """Run the proxy without its core and its log."""
    command = [sys.executable, "-m", "benchmarks._path", str(upstream.port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with _ended(process):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        yield Target("path", int(url.rpartition(":")[2]), process.pid)


@contextmanager
def as_shipped(upstream: Upstream, folder: Path) -> Iterator[Target]:
    """Run the daemon, as users do, with the upstream as a server that somebody else starts."""
    server = {"port": 0, "state_dir": f"{folder}/state", "ram": "2GiB", "headroom": 0}
    services = {MODEL: {"external": {"url": f"http://127.0.0.1:{upstream.port}", "health": "/"}}}
    daemon = Daemon(folder, {"server": server, "services": services})
    try:
        daemon.start()
        yield Target("shipped", int(daemon.url.rpartition(":")[2]), daemon.pid)
    finally:
        daemon.remove()


def nginx(upstream: Upstream, folder: Path) -> contextlib.AbstractContextManager[Target]:
    """Run nginx as one process that streams, keeps connections and writes no log."""
    command = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return _reference("nginx", "nginx.conf", command, upstream, folder)


def haproxy(upstream: Upstream, folder: Path) -> contextlib.AbstractContextManager[Target]:
    """Run haproxy as one thread."""
    command = ["-f", str(folder / "haproxy.cfg")]
    return _reference("haproxy", "haproxy.cfg", command, upstream, folder)


@contextmanager
def _reference(
    name: str, file: str, arguments: Sequence[str], upstream: Upstream, folder: Path
) -> Iterator[Target]:
    # Debian keeps servers where only root's PATH looks.
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ReferenceMissing(f"{name} is not installed: {INSTALL}")
    text = (ROOT / "benchmarks" / "rig" / file).read_text()
    port = free_port()
    for key, value in {"PORT": port, "UPSTREAM": upstream.port, "FOLDER": folder}.items():
        text = text.replace(f"${{{key}}}", str(value))
    (folder / file).write_text(text)
    process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL)
    with _ended(process):
        wait_answering(port, "/")
        yield Target(name, port, process.pid)


def by_command(name: str, command: str) -> Runner:
    """Return how to run another proxy: a command with `{port}` and `{upstream}` in it."""

    @contextmanager
    def run(upstream: Upstream, folder: Path) -> Iterator[Target]:
        port = free_port()
        words = [
            word.replace("{port}", str(port)).replace("{upstream}", str(upstream.port))
            for word in shlex.split(command)
        ]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with log, _ended(process):
            try:
                wait_answering(port, "/v1/models", pause_s=0.05, patience_s=OTHER_S)
            except NoAnswer as error:
                tail = (folder / "log").read_text(errors="replace")[-1000:]
                raise LoadFailed(f"{name} does not get ready: {error}; it said:\n{tail}") from error
            yield Target(name, port, process.pid)

    return run


@contextmanager
def _ended(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> Iterator[None]:
    """End a process after the block."""
    with process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


OWN: Mapping[str, Runner] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "path": path_alone,
    "shipped": as_shipped,
}
