"""A daemon in a process of its own, and services that stand behind it in either runtime."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
import yaml

from tests.rig.mock import MOCK_IMAGE, MOCK_PORT

PATIENCE_S = 20.0
"""Far above what anything here takes: only a broken daemon waits so long."""
_LISTENING = re.compile(r"listening on (http://[^\s,]+)")


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Return as soon as something holds.

    Raises:
        AssertionError: it does not come to hold.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at, f"never came: {what}"
        time.sleep(0.01)


@attrs.frozen
class Flavour:
    """How the services of a test run."""

    name: str
    server: Mapping[str, Any]
    """Keys of `server:` that it needs."""
    mock: Callable[[Mapping[str, str]], dict[str, Any]]
    """Makes the scripted server a service, with these settings in its environment."""


def process_flavour(binary: Path) -> Flavour:
    def mock(environment: Mapping[str, str]) -> dict[str, Any]:
        variables = {"HOST": "127.0.0.1", "PORT": "${PORT}", **environment}
        return {"process": {"command": [str(binary)], "environment": variables}}

    return Flavour("process", {}, mock)


def docker_flavour(host: str) -> Flavour:
    def mock(environment: Mapping[str, str]) -> dict[str, Any]:
        container = {"image": MOCK_IMAGE, "port": MOCK_PORT, "environment": dict(environment)}
        return {"container": container}

    return Flavour("docker", {"docker": {"host": host}}, mock)


@attrs.frozen
class Llamas:
    """The real llama-server by its template, in one of the runtimes."""

    server: Mapping[str, Any]
    """Keys of `server:` that it needs."""
    service: Mapping[str, Any]
    """A service with the small real model."""


@attrs.define
class Daemon:
    """One daemon and its folder; it may end and begin again."""

    folder: Path
    configuration: dict[str, Any]
    environment: Mapping[str, str] = attrs.field(factory=dict)
    """What it has in its environment besides ours."""
    module: str = "proxyserver"
    """What is run as `python -m`."""
    url: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _logs: int = 0

    @property
    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    @property
    def _log_file(self) -> Path:
        return self.folder / f"daemon.{self._logs}.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        file = self.folder / "aiproxy.yaml"
        file.write_text(yaml.safe_dump(self.configuration))
        self._logs += 1
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "serve", "--config", str(file)],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_until("the daemon's address", self._has_address)

    def _has_address(self) -> bool:
        assert self._process is not None
        found = _LISTENING.search(self.log)
        assert found or self._process.poll() is None, self.log
        self.url = found[1] if found else ""
        return bool(found)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def remove(self) -> None:
        """End the daemon and all that it started, whatever state the test left it in."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.kill()
        self.configuration["server"].pop("on_shutdown", None)
        # With every service gone from its configuration, the next life removes what is left.
        self.configuration["services"] = {"none": {"process": {"command": ["true"]}}}
        self.start()
        self.stop()

    # What clients do

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, timeout=PATIENCE_S, **more)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def chat(self, model: str, **more: Any) -> httpx.Response:
        return self.request("POST", "/v1/chat/completions", json=question(model), **more)

    @contextlib.contextmanager
    def stream(self, model: str, query: str = "", **more: Any) -> Iterator[httpx.Response]:
        """Ask for a streamed answer; the block runs once its head is there."""
        body = question(model, stream=True, **more)
        url = f"{self.url}/v1/chat/completions{query}"
        with httpx.stream("POST", url, json=body, timeout=PATIENCE_S) as answer:
            yield answer

    @contextlib.contextmanager
    def following(self, path: str) -> Iterator[Iterator[str]]:
        """Post something whose answer is lines that come when they come."""
        with httpx.stream("POST", self.url + path, timeout=PATIENCE_S) as answer:
            yield answer.iter_lines()

    def service(self, name: str) -> dict[str, Any]:
        services = self.get("/api/v1/services").json()["services"]
        return next(one for one in services if one["id"] == name)

    def state(self, name: str) -> str:
        return str(self.service(name)["state"])

    def command(
        self, *words: str, patience_s: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of ours against this daemon."""
        return subprocess.run(
            [sys.executable, "-m", "proxyserver", *words],
            env={**os.environ, "AIPROXY_URL": self.url},
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )


def question(model: str, **more: Any) -> dict[str, Any]:
    """Return the body of a chat request."""
    messages = [{"role": "user", "content": "Say hello."}]
    return {"model": model, "messages": messages, "max_tokens": 16, **more}


def events(answer: httpx.Response) -> Iterator[str]:
    """Yield the data of the server-sent events of an answer."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def text_of(chunks: Iterator[str]) -> str:
    """Return the words of a streamed chat answer."""
    words = []
    for chunk in chunks:
        if chunk != "[DONE]":
            choices = json.loads(chunk)["choices"]
            words += [choice["delta"].get("content") or "" for choice in choices]
    return "".join(words)
