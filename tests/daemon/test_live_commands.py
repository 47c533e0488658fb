"""The commands that show what goes on, against a real daemon."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.daemon.rig import PATIENCE_S, Daemon, question, wait_until


@pytest.mark.mock_binary
def test_requests_and_events_are_shown(
    new_daemon: Callable[..., Daemon], mock_binary: Path
) -> None:
    """One in flight is seen, cancelled, and told of; decisions come while they are made."""
    variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", "TOKENS": "500", "TOKEN_MS": "20"}
    service = {"process": {"command": [str(mock_binary)], "environment": variables}}
    daemon = new_daemon({"slow": service}, runtime="process")
    command = [sys.executable, "-m", "proxyserver", "events", "-f", "--json", "--url", daemon.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        body = question("slow", stream=True, max_tokens=500)
        url, headers = f"{daemon.url}/v1/chat/completions", {"x-request-id": "mine"}
        with httpx.stream("POST", url, json=body, headers=headers, timeout=PATIENCE_S) as answer:
            assert answer.status_code == 200
            wait_until("it streams", lambda: "streaming" in daemon.command("requests").stdout)
            every = json.loads(daemon.command("requests", "--json").stdout)["requests"]
            [seen] = [one for one in every if one["service"] is not None]
            assert (seen["id"], seen["service"], seen["state"]) == ("mine", "slow", "streaming")
            assert daemon.command("requests", "--cancel", "mine").stdout == "cancelled: 1\n"
        assert daemon.command("requests", "--cancel", "mine").returncode == 1
        assert follower.stdout is not None
        kinds = []
        while "ready" not in kinds:
            kinds.append(json.loads(follower.stdout.readline())["kind"])
        assert {"wait", "start", "ready"} <= {*kinds}
        follower.terminate()
    told = daemon.command("events", "--service", "slow").stdout
    assert "slow starts" in told or "slow is ready" in told
