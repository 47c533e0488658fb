"""What a whole daemon keeps of its use, over lives that end badly."""

import csv
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, wait_until
from tests.daemon.test_telemetry import served_by

pytestmark = pytest.mark.mock_binary


def rows(daemon: Daemon, by: str) -> list[Mapping[str, Any]]:
    told = daemon.get(f"/api/v1/usage?by={by}").json()
    assert told["by"] == by
    found: list[Mapping[str, Any]] = told["rows"]
    return found


def test_usage_outlives_a_crash(new_daemon: Callable[..., Daemon], mock_binary: Path) -> None:
    """What is older than a second is there in the next life, and the next is added to it."""
    services = {"good": {**served_by(mock_binary), "aliases": ["best"], "memory": {"ram": "1MiB"}}}
    daemon = new_daemon(services, runtime="process")
    for model in ("good", "best"):
        assert daemon.chat(model).status_code == 200
    time.sleep(1.5)  # It is written once a second, by the clock of the machine.
    daemon.kill()
    daemon.start()
    assert daemon.chat("good").status_code == 200
    [good] = rows(daemon, "service")
    assert (good["service"], good["requests"], good["failed"], good["starts"]) == ("good", 3, 0, 1)
    assert good["output_tokens"] > 0
    wait_until("the time that it is there", lambda: rows(daemon, "service")[0]["ram_peak"] > 0)
    assert [(row["model"], row["requests"]) for row in rows(daemon, "model")] == [
        ("good", 2),
        ("best", 1),
    ]


def test_usage_is_told_by_the_command(new_daemon: Callable[..., Daemon], mock_binary: Path) -> None:
    """As a table, as values for a spreadsheet, and as JSON; what was not used is said so."""
    daemon = new_daemon({"good": served_by(mock_binary)}, runtime="process")
    nothing = daemon.command("usage", "--from", "2026-01-01", "--to", "2026-01-02")
    assert nothing.stdout == "nothing was used from 2026-01-01 to 2026-01-02\n"
    assert daemon.chat("good").status_code == 200
    table = daemon.command("usage").stdout.splitlines()
    assert table[0].split()[:3] == ["SERVICE", "REQUESTS", "FAILED"]
    assert table[1].split()[:5] == ["good", "1", "0", "0", "0"]
    assert "GPU-H" not in daemon.command("usage", "--by", "model").stdout
    [row] = csv.DictReader(daemon.command("usage", "--by", "key", "--csv").stdout.splitlines())
    assert (row["key"], row["requests"]) == ("", "1")
    [day] = json.loads(daemon.command("usage", "--by", "day", "--json").stdout)["rows"]
    assert day["starts"] == 1
    wrong = daemon.command("usage", "--from", "soon")
    assert (wrong.returncode, "a day, such as" in wrong.stderr) == (1, True)


def test_statistics_that_cannot_be_read_are_told_of(
    new_daemon: Callable[..., Daemon], mock_binary: Path
) -> None:
    """With the reason, and requests go on; the first days of the calendar are days, too."""
    daemon = new_daemon({"good": served_by(mock_binary)}, runtime="process", usage_days=1_000_000)
    assert daemon.chat("good").status_code == 200
    assert daemon.get("/api/v1/usage?to=0001-01-05").json()["rows"] == []
    daemon.stop()
    [file] = daemon.folder.rglob("usage.db")
    with closing(sqlite3.connect(file)) as newer:
        newer.execute("PRAGMA user_version = 2")
    daemon.start()
    assert daemon.chat("good").status_code == 200
    answer = daemon.get("/api/v1/usage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "statistics_unavailable")
    told = daemon.command("usage")
    assert (told.returncode, "newer version" in told.stderr) == (1, True)
