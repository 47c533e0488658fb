"""The command against the real daemon: the demo, and a life from start to SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .daemon import RUN_S, aiproxy, clean

pytestmark = pytest.mark.slow


def shows_a_swap(parts: str) -> None:
    done = aiproxy("demo", "--once", "--json", "--parts", parts)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["parts"] == parts
    assert figures["warm_first_token_s"] < figures["swap_first_token_s"]


def test_demo_small() -> None:
    """The swap shows with our own small server."""
    shows_a_swap("small")


@pytest.mark.llama
def test_demo_real() -> None:
    """The swap shows with the real llama-server and a real model."""
    shows_a_swap("real")


def test_demo_says_why_it_cannot() -> None:
    """A taken port is told, not traced back."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = aiproxy("demo", "--once", "--parts", "small", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"aiproxy: demo: port {port} is taken or forbidden; try another --port\n"


def test_demos_do_not_meet() -> None:
    """Of two that begin at once, one finds its port taken, and takes another."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(aiproxy, "demo", "--once", "--parts", "small") for _ in range(2)]
    assert [(done.result().returncode, done.result().stderr) for done in both] == [(0, "")] * 2


def test_serve_from_start_to_end(tmp_path: Path) -> None:
    """It answers commands, starts a service by hand, and ends cleanly at SIGTERM."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Path(__file__).parents[2] / "proxyserver" / "_demo_server.py"
    config = tmp_path / "aiproxy.yaml"
    config.write_text(
        f"server: {{ram: 1GiB, headroom: 0, state_dir: state, port: {port}}}\n"
        "services:\n  a:\n    ready: {path: /health}\n    process:\n      command: "
        + json.dumps([sys.executable, "-P", str(server), "--port", "${PORT}"])
        + "\n"
    )
    url = f"http://127.0.0.1:{port}"
    daemon = subprocess.Popen(
        [sys.executable, "-m", "proxyserver", "serve", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=clean(os.environ),
    )
    assert daemon.stderr is not None
    try:
        until = time.monotonic() + RUN_S
        for line in daemon.stderr:
            if "listening on" in line or time.monotonic() > until:
                break
        assert aiproxy("start", "a", "--url", url).stdout == "a is ready (run 1)\n"
        assert aiproxy("status", "a", "--url", url).returncode == 0
        assert aiproxy("logs", "a", "--url", url).returncode == 0
        assert aiproxy("chat", "a", "hi you", "--url", url).stdout == "demo heard: hi you \n"
        assert json.loads(aiproxy("bench", "a", "--json", "--url", url).stdout)["failed"] == 0
        assert "\na " in aiproxy("ps", "--url", url).stdout
        second = aiproxy("serve", "--config", str(config))
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert aiproxy("stop", "a", "--url", url).stdout == "a is down\n"
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(RUN_S) == 0
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()
