"""Many clients, more services than fit, crashes: what is left, and what the journal says of it."""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxycore import Admit, StartRun, journal
from tests.daemon.rig import PATIENCE_S, Daemon, question, wait_until

NewDaemon = Callable[..., Daemon]

CLIENTS = 16
REQUESTS_EACH = 12
CHAT = "/v1/chat/completions"
MODELS = ("a", "b", "c", "d", "e", "f")


@pytest.mark.slow
def test_the_journal_tells_what_happened_in_a_storm(
    mock_binary: Path, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """Every start and every place given is in it; nothing that the storm needed stays behind."""
    starts = tmp_path / "starts"

    def service(name: str) -> dict[str, Any]:
        script = f"echo {name} >> {starts}; exec {mock_binary}"
        variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", "LOAD_MS": "10", "TOKENS": "2"}
        command = ["/bin/sh", "-c", script]
        return {
            "process": {"command": command, "environment": variables},
            "memory": {"ram": "800MiB"},
            "concurrency": 4,
        }

    daemon = new_daemon({name: service(name) for name in MODELS})  # Two of them fit.
    quiet = descriptors(daemon)
    answers: list[int] = []

    def client(seed: int) -> None:
        chance = random.Random(seed)
        questions = (question(chance.choice(MODELS)) for _ in range(REQUESTS_EACH))
        with httpx.Client(base_url=daemon.url, timeout=PATIENCE_S) as http:
            answers.extend(http.post(CHAT, json=one).status_code for one in questions)

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert Counter(answers) == {200: CLIENTS * REQUESTS_EACH}
    for name in MODELS:
        assert daemon.request("POST", f"/api/v1/service/{name}/stop").status_code == 200
    # Connections of clients that left take a moment to be noticed.
    wait_until("as few descriptors as before", lambda: descriptors(daemon) <= quiet)
    assert daemon.stop() == 0
    (file,) = (daemon.folder / "state").rglob("journal.jsonl")
    with file.open() as lines:
        effects = [effect for step in journal.replay(lines) for effect in step.effects]
    told = Counter(str(effect.service) for effect in effects if isinstance(effect, StartRun))
    assert told == Counter(starts.read_text().split())
    assert sum(isinstance(effect, Admit) for effect in effects) == len(answers)


@pytest.mark.slow
def test_crashes_under_load_are_outlived(mock_binary: Path, new_daemon: NewDaemon) -> None:
    """Servers and the daemon are killed at any moment; then all serve, and all end."""
    variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", "LOAD_MS": "20", "TOKEN_MS": "2"}
    process = {"command": [str(mock_binary)], "environment": variables}
    service = {"process": process, "memory": {"ram": "800MiB"}, "wait_s": 5}
    daemon = new_daemon(dict.fromkeys(MODELS, service))
    calm = threading.Event()

    def client(seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(timeout=2.0) as http:
            while not calm.is_set():
                try:
                    http.post(daemon.url + CHAT, json=question(chance.choice(MODELS)))
                except (httpx.HTTPError, httpx.InvalidURL):
                    calm.wait(0.02)  # There is no daemon just now.

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
    for one in clients:
        one.start()
    try:
        for seed in range(3):
            for name in random.Random(seed).sample(MODELS, 4):
                pid = daemon.get(f"/api/v1/container/{name}").json()["pid"]
                if pid is not None:
                    os.kill(pid, 9)
                calm.wait(0.05)
            daemon.kill()
            daemon.start()
    finally:
        calm.set()
        for one in clients:
            one.join()
    for name in MODELS:
        assert daemon.request("POST", f"/api/v1/service/{name}/start").status_code == 200
        assert daemon.chat(name).status_code == 200
    state = daemon.folder / "state"
    marker = f"AIPROXY_RUN={(state / 'instance').read_text().strip()}/".encode()
    assert daemon.stop() == 0
    assert not any(marker in environment(path) for path in Path("/proc").glob("[0-9]*"))
    assert list((state / "processes").glob("*.json")) == []


def descriptors(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # It is gone.
        return b""
