"""Clients that hang up leave nothing in the whole daemon: no descriptor, task, place or object."""

import json
import os
import random
import signal
import socket
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from proxyserver.decisions import DECISIONS_MAX
from tests.daemon.rig import PATIENCE_S, Daemon, wait_until
from tests.daemon.test_storm import descriptors

ABORTS = int(os.environ.get("AIPROXY_TEST_ABORTS", "320"))
"""How many requests are aborted in all; ten thousand take some minutes."""
AT_ONCE = 20
ROOM = 8 * 1024 * 1024
"""What the process may take for good, whatever is done: its allocator gives little back."""
BYTES_EACH = 500
"""A task alone takes five times as much."""
ROUNDS = 2
"""As many as warm it up: what is made once has been made then."""
TRIES = 3
"""What is imported late has objects of its own, once; what leaks grows each time."""
BODY = json.dumps({"model": "busy", "stream": True, "messages": []})
LONG = "X-Mock: TOKENS=4000;TOKEN_MS=5\r\n"
STAGES = {
    "waiting": ("/v1/chat/completions", "", BODY.replace("busy", "slow"), None),
    "uploading": ("/service/busy/mock/echo", "", "x" * 50_000, 1_000_000),
    "thinking": ("/service/busy/mock/hang", "", BODY, None),
    "streaming": ("/v1/chat/completions", LONG, BODY, None),
}
"""By the state in which the request is left: its path, its fields, what is sent of its body, and
how long that is said to be."""


@attrs.define
class Aborter:
    """Hangs up on a daemon, wherever it stands."""

    daemon: Daemon
    http: httpx.Client
    """It keeps its connection: to make one each time is most of the work."""
    counts: Path
    chance: random.Random = attrs.field(factory=lambda: random.Random(1))

    def request(self, stage: str, *, fast: bool) -> bytes:
        path, fields, body, length = STAGES[stage]
        # Whole URLs are for the other lane.
        target = path if fast else self.daemon.url + path
        length = len(body) if length is None else length
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}"
        return f"{head}Content-Type: application/json\r\n\r\n{body}".encode()

    def states(self) -> Counter[str]:
        found = self.http.get("/api/v1/requests").json()["requests"]
        return Counter(one["state"] for one in found)

    def abort(self, stage: str, *, fast: bool, anywhere: bool) -> None:
        """Bring some requests to a stage, or begin to, and hang up."""
        place = urlsplit(self.daemon.url)
        clients = [
            socket.create_connection((str(place.hostname), place.port or 80))
            for _ in range(AT_ONCE)
        ]
        for client in clients:
            client.sendall(self.request(stage, fast=fast))
        if not anywhere:
            wait_until(f"all {stage}", lambda: self.states()[stage] == AT_ONCE)
        for client in clients:
            if self.chance.random() < 0.5:
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
        wait_until("no request in flight", lambda: not self.states())

    def abort_all(self, rounds: int) -> None:
        for number in range(rounds):
            for stage in STAGES:
                for fast in (True, False):
                    self.abort(stage, fast=fast, anywhere=number % 2 == 1)

    def held(self) -> tuple[int, Counter[str]]:
        """Return how many tasks and objects the daemon has."""
        self.counts.unlink(missing_ok=True)
        os.kill(self.daemon.pid, signal.SIGUSR1)
        wait_until("its counts", self.counts.exists)
        told = json.loads(self.counts.read_text())
        return told["tasks"], Counter(told["objects"])

    def memory(self) -> int:
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.slow
def test_aborted_requests_leave_nothing_in_the_daemon(
    mock_binary: Path, new_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """On both lanes, in each state and in between: what is held is what was held before."""

    def service(**variables: str) -> dict[str, object]:
        environment = {"HOST": "127.0.0.1", "PORT": "${PORT}", **variables}
        process = {"command": [str(mock_binary)], "environment": environment}
        return {"process": process, "memory": {"ram": "100MiB"}, "concurrency": 64, "wait_s": 600}

    counts = tmp_path / "counts.json"
    daemon = new_daemon(
        {"busy": service(), "slow": service(LOAD_MS="3600000")},
        environment={"AIPROXY_TEST_COUNTS": str(counts)},
        module="tests.daemon.counted",
    )
    with httpx.Client(base_url=daemon.url, timeout=PATIENCE_S) as http:
        abort_many(Aborter(daemon, http, counts))


def abort_many(aborter: Aborter) -> None:
    daemon = aborter.daemon
    aborter.abort_all(ROUNDS)
    before, (tasks, objects) = descriptors(daemon), aborter.held()
    memory = aborter.memory()
    rounds = max(2, ABORTS // AT_ONCE // len(STAGES) // 2)
    aborted = rounds * len(STAGES) * 2 * AT_ONCE
    for _ in range(TRIES):
        aborter.abort_all(rounds)
        wait_until("as few descriptors as before", lambda: descriptors(daemon) <= before)
        wait_until("as few tasks as before", lambda: aborter.held()[0] <= tasks)
        _, objects_now = aborter.held()
        assert objects_now.pop("Decision") <= 2 * DECISIONS_MAX
        # Each stage on each lane is an eighth of them.
        grown = {
            name: more
            for name, now in objects_now.items()
            if (more := now - objects[name]) > aborted / 10
        }
        if not grown:
            break
        objects = objects_now
    assert grown == {}
    grown_by = aborter.memory() - memory
    assert grown_by < ROOM + BYTES_EACH * aborted, f"{grown_by} bytes for {aborted}"
    for name in ("busy", "slow"):
        told = daemon.service(name)
        assert (told["waiting"], told["in_flight"]) == (0, 0)
    assert daemon.chat("busy").status_code == 200
