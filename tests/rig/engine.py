"""A private Docker engine for tests: own socket, data and network, gone afterwards.

The machine's default engine is never touched.  What a killed test session left behind is swept
by the next one: each engine's folder holds a lock that dies with the session that owns it.
"""

import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import docker

# Under /var/tmp because /tmp may be a tmpfs, on which overlay2 does not work.
RIG_FOLDER = Path("/var/tmp/aiproxy-rig")
INSTALL = "apt-get install -y --no-install-recommends docker.io iptables iproute2"
START_S = 30.0
STOP_S = 15.0


class EngineMissing(Exception):
    """The tests need an engine and cannot have one; the message says what to do."""


@attrs.frozen
class Engine:
    """One private engine; `start`, `kill` and `stop` may be called in any order."""

    folder: Path
    bridge: str
    subnet: str

    @property
    def host(self) -> str:
        """The value for DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def client(self) -> docker.DockerClient:
        """Return a client of our own, for looking behind the runtime's back."""
        return docker.DockerClient(base_url=self.host, timeout=30)

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        self._remove_stale_pids()
        log_file = self.folder / "dockerd.log"
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [
                    "dockerd",
                    f"--host={self.host}",
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/dockerd.pid",
                    f"--bridge={self.bridge}",
                    # The DOCKER chains are global: a second engine with iptables on flushes
                    # the rules of the first.  Ports on loopback need none (docker-proxy).
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-masq=false",
                    "--ip-forward=false",
                    f"--cgroup-parent=/{self.bridge}",
                    "--storage-driver=overlay2",
                    "--log-level=warn",
                    "--shutdown-timeout=5",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline_at = time.monotonic() + START_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline_at:
                tail = log_file.read_text(errors="replace")[-1000:]
                raise EngineMissing(f"the private engine does not start:\n{tail}")
            time.sleep(0.02)
        process.returncode = 0  # `_end` reaps it, by number: it may be killed and started again.

    def kill(self) -> None:
        """End the engine as a power cut would; its containers may live on."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the engine and its containers."""
        self._end(signal.SIGTERM)
        self._kill_leftovers()

    def remove(self) -> None:
        """Remove every trace: processes, mounts, bridge, cgroups, files."""
        self.stop()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            mount_point = line.split()[1]
            if mount_point.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", mount_point], check=False)
        subprocess.run(["ip", "link", "del", self.bridge], check=False, capture_output=True)
        for pattern in (self.bridge, f"*/{self.bridge}"):
            for group in Path("/sys/fs/cgroup").glob(pattern):
                for path, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(path).rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        # By hand, because the SDK leaks a socket for every attempt that fails.
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(START_S)
            connection.connect(f"{self.folder}/docker.sock")
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        return False

    def _pid(self, file: str) -> int | None:
        """Return the pid in one of our pid files, if that process is really ours."""
        try:
            pid = int((self.folder / file).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if str(self.folder).encode() in command else None

    def _remove_stale_pids(self) -> None:
        # With one, dockerd waits 15 s for a containerd that is gone, then fails.
        for file in ("dockerd.pid", "exec/containerd/containerd.pid"):
            if self._pid(file) is None:
                (self.folder / file).unlink(missing_ok=True)

    def _end(self, signal_number: int) -> None:
        pid = self._pid("dockerd.pid")
        if pid is None:
            return
        os.kill(pid, signal_number)
        deadline_at = time.monotonic() + STOP_S
        while self._pid("dockerd.pid") == pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline_at:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _kill_leftovers(self) -> None:
        """Kill containers and shims that outlived a killed engine."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = f"/{self.bridge}/" in (process / "cgroup").read_text() or (
                    f"{self.folder}/exec/containerd/".encode() in (process / "cmdline").read_bytes()
                )
                if ours and int(process.name) != os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)


def free_subnets(count: int) -> list[str]:
    """Return networks that no route of this machine leads to, as `10.213.2`.

    Every bridge needs its own, in this engine or another: of two with one subnet, one gets no
    traffic, and its published ports accept, then hang.

    Raises:
        EngineMissing: there are not so many.
    """
    routes = subprocess.run(["ip", "-4", "route"], check=True, capture_output=True, text=True)
    taken = set(re.findall(r"10\.213\.(\d+)\.", routes.stdout))
    free = [f"10.213.{number}" for number in range(2, 250) if str(number) not in taken]
    if len(free) < count:
        raise EngineMissing("no free subnet within 10.213.0.0/16: remove old bridges (ip link)")
    return random.sample(free, count)  # Another session may be choosing at this moment.


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock that also ends with our process; yield False when another holds it."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _sweep() -> None:
    """Remove the engines of sessions that were killed."""
    for folder in RIG_FOLDER.glob("engine-*"):
        with _locked(folder / "lock", wait=False) as abandoned:
            if abandoned:
                Engine(folder, _bridge(folder), "").remove()


def _bridge(folder: Path) -> str:
    return f"aip{zlib.crc32(str(folder).encode()):08x}"  # Interface names end at 15 characters.


@contextlib.contextmanager
def private_engine() -> Iterator[Engine]:
    """Run a private engine.

    Raises:
        EngineMissing: it cannot be had; a failure, never a reason to skip.
    """
    missing = [tool for tool in ("dockerd", "containerd", "ip") if not shutil.which(tool)]
    if missing:
        raise EngineMissing(f"{', '.join(missing)} not found: as root, {INSTALL}")
    if os.geteuid() != 0:
        raise EngineMissing("a private engine needs root: run the tests as root")
    RIG_FOLDER.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(RIG_FOLDER / "lock", wait=True):
            _sweep()
            folder = Path(tempfile.mkdtemp(prefix="engine-", dir=RIG_FOLDER))
            stack.enter_context(_locked(folder / "lock", wait=False))
            engine = Engine(folder, _bridge(folder), f"{free_subnets(1)[0]}.1/24")
            stack.callback(engine.remove)
            for command in (
                f"link add {engine.bridge} type bridge",
                f"addr add {engine.subnet} dev {engine.bridge}",
                f"link set {engine.bridge} up",
            ):
                subprocess.run(["ip", *command.split()], check=True)
        engine.start()
        yield engine
