"""Every way in which the real llama-server fails that needs no GPU: told apart, and with advice."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.rig import Daemon, Llamas, question
from tests.gguf.writing import dense, dense_tensors, words, write
from tests.rig.llama import Llama

NewDaemon = Callable[..., Daemon]
pytestmark = [pytest.mark.llama, pytest.mark.slow]

SMALL = {"ram": "100MiB"}
TRIES = 5
LIMIT = 1 << 30
"""Bytes of memory of its own that a server may ask the kernel for."""


@pytest.fixture
def broken(llama: Llama, tmp_path: Path) -> dict[str, Path]:
    """Files that are no good, by what is wrong with them."""
    whole = llama.parts.model.read_bytes()
    newer = bytearray(whole)
    newer[4] = 9
    contents = {
        "missing": whole,
        "empty": b"",
        "rubbish": b"<!DOCTYPE html>" * 1000,
        "cut": whole[: len(whole) // 2],
        "cut-head": whole[:100_000],
        "newer": bytes(newer),
    }
    files = {name: tmp_path / f"{name}.gguf" for name in (*contents, "novel")}
    for name, content in contents.items():
        files[name].write_bytes(content)
    novel = {key.replace("qwen3.", "novel9."): value for key, value in dense(2).items()}
    novel["general.architecture"] = "novel9"
    write(files["novel"], novel | words(), dense_tensors(2))
    return files


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another listens."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        yield stranger.getsockname()[1]


def limited(llamas: Llamas, tmp_path: Path) -> dict[str, Any]:
    """Return a service that may take no more than `LIMIT`."""
    if "container" in llamas.service:
        return {"container": {**llamas.service["container"], "ulimits": {"data": LIMIT}}}
    program = tmp_path / "limited"
    program.write_text(
        f'#!/bin/sh\nulimit -d {LIMIT >> 10}\nexec "{llamas.service["binary"]}" "$@"\n'
    )
    program.chmod(0o755)
    return {"binary": str(program)}


def why_it_fails(daemon: Daemon, name: str) -> dict[str, Any]:
    """Ask until the server has told why it fails: it loses its last lines now and then."""
    answer = daemon.chat(name)
    cause: dict[str, Any] = daemon.service(name)["cause"]
    assert answer.status_code == 503
    assert cause["message"] in answer.json()["error"]["message"]
    for _ in range(TRIES):
        if cause["kind"] != "exit":
            break
        assert daemon.command("start", name).returncode == 1
        cause = daemon.service(name)["cause"]
    return cause


def test_every_failure(
    llamas: Llamas,
    new_daemon: NewDaemon,
    broken: dict[str, Path],
    taken: int,
    tmp_path: Path,
) -> None:
    """Each has a kind of its own, its own words in the answer, and heals or does not."""
    args = llamas.service["args"]
    rows: dict[str, dict[str, Any]] = {name: {"model": str(file)} for name, file in broken.items()}
    rows["flag"] = {"args": [*args, "--no-such-flag"]}
    rows["value"] = {"args": [*args, "--ctx-size", "many"]}
    rows["kv"] = {"ctx": 8_000_000, **limited(llamas, tmp_path)}
    # In a container every port is free, but not every address is its own.
    address = ["--port", str(taken)] if "process" in llamas.service else ["--host", "192.0.2.1"]
    rows["port"] = {"args": [*args, *address]}
    services = {name: {**llamas.service, "memory": SMALL, **row} for name, row in rows.items()}
    daemon = new_daemon(services, **llamas.server)
    broken["missing"].unlink()

    said = {name: why_it_fails(daemon, name) for name in rows}
    told = {name: (cause["kind"], daemon.state(name)) for name, cause in said.items()}
    assert told == {
        "missing": ("model_missing" if "process" in llamas.service else "mount_missing", "failed"),
        "empty": ("model_corrupt", "failed"),
        "rubbish": ("model_corrupt", "failed"),
        "cut": ("model_corrupt", "failed"),
        "cut-head": ("model_corrupt", "failed"),
        "newer": ("model_corrupt", "failed"),
        "novel": ("unsupported", "failed"),
        "flag": ("bad_flag", "failed"),
        "value": ("bad_flag", "failed"),
        "kv": ("alloc", "backoff"),
        "port": ("port_in_use", "backoff"),
    }
    # What can be seen of them beforehand was said when the daemon started.
    seen = [name for name in rows if f"services.{name}.model: " in daemon.log]
    assert seen == ["empty", "rubbish", "cut", "cut-head", "newer"]
    assert "lower `ctx` from 8000000 to " in said["kv"]["message"]
    assert "unknown model architecture: 'novel9'" in said["novel"]["message"]


def test_too_long_a_question_passes_through(llamas: Llamas, new_daemon: NewDaemon) -> None:
    """The server's own answer says by how much; it is no failure of the service."""
    daemon = new_daemon({"a": {**llamas.service, "ctx": 512}}, **llamas.server)
    body = question("a", messages=[{"role": "user", "content": "word " * 2000}])
    answer = daemon.request("POST", "/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["n_ctx"]) == (
        400,
        "exceed_context_size_error",
        512,
    )
    assert error["n_prompt_tokens"] > 2000
    assert daemon.state("a") == "ready"


@pytest.mark.engine
@pytest.mark.parametrize("llamas", ["docker"], indirect=True)
def test_killed_at_its_memory_limit(llamas: Llamas, new_daemon: NewDaemon) -> None:
    """The engine says who killed it, and what takes less is computed for that limit."""
    container = {**llamas.service["container"], "mem_limit": "400MiB"}
    service = {**llamas.service, "container": container, "ctx": 60_000, "memory": SMALL}
    daemon = new_daemon({"a": service}, **llamas.server)
    assert daemon.chat("a").status_code == 503
    cause = daemon.service("a")["cause"]
    assert (cause["kind"], daemon.state("a")) == ("ram_oom", "backoff")
    assert "the kernel killed it at its memory limit" in cause["message"]
    assert "lower `ctx` from 60000 to " in cause["message"]
