"""Keys are made by one command, and shown to the daemon by all others."""

import json
from pathlib import Path

import pytest

from proxyserver.access import hashed, weakness
from proxyserver.settings import load

from .daemon import aiproxy, running_daemon

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


@pytest.mark.parametrize("name", ["laptop", "1", "null", "a.b-c"])
def test_what_is_printed_can_be_pasted(tmp_path: Path, name: str) -> None:
    """The key stands in the first line alone, the rest is the configuration."""
    done = aiproxy("keys", "new", name, "--admin")
    key, rest = done.stdout.split("\n", 1)
    assert weakness(key) is None
    assert key not in rest
    file = tmp_path / "aiproxy.yaml"
    file.write_text(rest[rest.index("server:") :] + "services: {}\n")
    (found,) = load(file, {"HOME": "/home/tester"}).server.keys
    assert (found.name, sorted(found.roles)) == (name, ["admin", "inference"])
    assert f"sha256:{found.digest.hex()}" == hashed(key)


def test_keys_for_programs() -> None:
    """`--json` has all of it; no two are alike."""
    first, second = (json.loads(aiproxy("keys", "new", "ci", "--json").stdout) for _ in range(2))
    assert first == {
        "name": "ci",
        "key": first["key"],
        "hash": hashed(first["key"]),
        "roles": ["inference"],
    }
    assert first["key"] != second["key"]


def test_a_name_that_the_configuration_would_refuse_is_refused() -> None:
    """Before anybody has a key that cannot be pasted."""
    done = aiproxy("keys", "new", "My Laptop")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no good name" in done.stderr


@pytest.mark.parametrize("command", ["status", "stop coder", "logs coder", "chat coder hello"])
def test_commands_show_their_key(tmp_path: Path, command: str) -> None:
    """From the file, else from the environment; never without being told one."""
    file = tmp_path / "key"
    file.write_text("from-the-file\n")
    with running_daemon() as daemon:
        for said, environment, shown in (
            ((), {}, None),
            ((), {"AIPROXY_API_KEY": "from-there"}, "Bearer from-there"),
            (("--key-file", str(file)), {"AIPROXY_API_KEY": "x"}, "Bearer from-the-file"),
        ):
            daemon.shown.clear()
            aiproxy(*command.split(), "--url", daemon.url, *said, **environment)
            assert {*daemon.shown} == {shown}


def test_bench_shows_its_key() -> None:
    """To each of its requests."""
    with running_daemon() as daemon:
        aiproxy("bench", "coder", "-n", "2", "--url", daemon.url, AIPROXY_API_KEY="it")
        assert {*daemon.shown} == {"Bearer it"}


@pytest.mark.parametrize("content", [None, "", "two\nlines", "schlüssel"])
def test_a_file_without_a_key_is_told(tmp_path: Path, content: str | None) -> None:
    """Nobody is asked then."""
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    done = aiproxy("status", "--key-file", str(file))
    assert done.returncode == 2
    assert f"--key-file {file}: " in done.stderr
