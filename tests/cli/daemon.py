"""A stand-in for the daemon, which answers as docs/reference/http-api.md says and remembers."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

RUN_S = 60.0
PROFILES = {"profiles": {"day": ["chat", "coder"], "night": []}}

CODER = {
    "id": "coder",
    "type": "llamacpp",
    "runtime": "docker",
    "state": "ready",
    "run": 3,
    "why": "answers",
    "for_s": 75.0,
    "progress": None,
    "waiting": 0,
    "in_flight": 2,
    "idle_in_s": 3900.0,
    "retry_in_s": None,
    "failures": 0,
    "placement": {"gpu0": 16 << 30},
    "aliases": ["smart"],
    "pinned": False,
    "cause": None,
    "pull": None,
}
CHAT = CODER | {
    "id": "chat",
    "aliases": [],
    "state": "backoff",
    "run": None,
    "why": "its start failed",
    "in_flight": 0,
    "idle_in_s": None,
    "retry_in_s": 8.0,
    "placement": {},
    "cause": {"kind": "gpu_oom", "message": "the GPU\nwas full", "heals": True},
}
FETCHED = CODER | {
    "id": "fetched",
    "aliases": [],
    "state": "down",
    "run": None,
    "why": "nobody has asked for it",
    "in_flight": 0,
    "waiting": 1,
    "idle_in_s": None,
    "placement": {},
    "pull": {
        "image": "acme/llm:1",
        "state": "pulling",
        "status": "Downloading",
        "done": 3 << 29,
        "total": 3 << 30,
        "percent": 50.0,
        "started_at": 1_750_000_000.0,
        "took_s": 9.0,
        "cause": None,
    },
}
UNFETCHED = FETCHED | {
    "id": "unfetched",
    "waiting": 0,
    "pull": {
        "image": "acme/other:1",
        "state": "failed",
        "status": "asking the registry",
        "done": 0,
        "total": 0,
        "percent": None,
        "started_at": 1_750_000_000.0,
        "took_s": 9.0,
        "cause": {"kind": "image_unknown", "message": "acme/other:1: no such", "heals": False},
    },
}
HEALTH = {
    "status": "degraded",
    "version": "1",
    "runtimes": {"docker": {"ok": False, "message": "no socket"}},
    "gauges": {
        "gpu": {"ok": True, "message": "NVML: gpu0"},
        "ram": {"ok": False, "message": "no answer"},
    },
    "configuration": {
        "path": "/c.yaml",
        "loaded_at": 1.0,
        "problems": [],
        "needs_restart": [],
        "schedules": [],
    },
    "services": [CODER, CHAT, FETCHED, UNFETCHED],
    "devices": [
        {
            "id": "gpu0",
            "capacity": 24 << 30,
            "headroom": 512 << 20,
            "unit": "bytes",
            "claimed": 16 << 30,
            "reserved": 0,
            "free": 15 << 29,
            "measured": {
                "total": 24 << 30,
                "used": 17 << 30,
                "free": 7 << 30,
                "services": {"coder": 15 << 30},
                "foreign": 2 << 30,
                "age_s": 90.0,
                "stale": True,
            },
        },
        {
            "id": "gpu1",
            "capacity": 8 << 30,
            "headroom": 0,
            "unit": "bytes",
            "claimed": 0,
            "reserved": 0,
            "free": 8 << 30,
            "measured": None,
        },
    ],
}
EVICTED = {
    "number": 4,
    "at": 1_750_000_000.0,
    "kind": "evict",
    "service": "chat",
    "why": "coder leaves to make room: chat needs 14.0 GiB on gpu0, where 8.0 GiB are free",
    "run": None,
    "ticket": None,
    "request": None,
    "reason": None,
    "position": None,
    "waited_s": None,
    "need": {"gpu0": 14 << 30},
    "free": {"gpu0": 8 << 30},
    "foreign": {},
    "candidates": [
        {
            "service": "coder",
            "run": 3,
            "claim": {"gpu0": 16 << 30},
            "fate": "leaves",
            "why": "coder leaves",
            "until": None,
            "value": 8.1,
            "load_s": 20.0,
            "requests": 14.0,
            "idle_s": 30.0,
        }
    ],
    "patient_until": 1_750_000_040.0,
    "policy": "cost_rate",
}
REFUSED = EVICTED | {
    "number": 5,
    "at": 1_750_000_001.0,
    "kind": "refuse",
    "why": "waited too long",
    "ticket": 9,
    "request": "mine",
    "reason": "queue_timeout",
    "waited_s": 1.5,
    "candidates": None,
}
BUSY = {"error": {"message": "no room", "type": "x", "param": None, "code": "queue_timeout"}}
UNKNOWN = {"error": {"message": "no service 'nope'; did you mean 'code'?", "code": "x"}}


def said(text: str, **more: Any) -> str:
    """Return an event with a piece of an answer."""
    delta = {"content": text, **more}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}"


USED = {"choices": [], "usage": {"completion_tokens": 7}}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CHATS: dict[str, list[str]] = {
    "coder": [
        ": be patient",
        said("Hello "),
        said("wörld"),
        f"data: {json.dumps(STOP)}",
        f"data: {json.dumps(USED)}",
        "data: [DONE]",
    ],
    "thinks": [said("", reasoning_content="hm"), said("Yes"), "data: [DONE]"],
    "endless": [said("Once upon")],
    "broken": [said("Once")],
    "fails": [said("Once"), 'data: {"error": {"message": "the GPU was full"}}', "data: [DONE]"],
    "odd": ["data: {"],
}
"""What each model answers; others are busy."""


@attrs.define
class Daemon:
    """Where it listens and what it was asked."""

    url: str
    asked: list[tuple[str, str, dict[str, list[str]]]] = attrs.field(factory=list)
    chats: list[dict[str, Any]] = attrs.field(factory=list)
    """The bodies of all chats."""
    shown: list[str | None] = attrs.field(factory=list)
    """What each request has for its `Authorization`."""
    left: threading.Event = attrs.field(factory=threading.Event)
    """Somebody has hung up in the middle of an answer."""
    health: dict[str, Any] = attrs.field(factory=lambda: HEALTH)
    """What it says of itself, which may change."""
    stop: Callable[[], None] = lambda: None
    """Ends it early."""


@contextmanager
def running_daemon() -> Iterator[Daemon]:
    """Run a daemon of the contract on a free port."""
    daemon = Daemon("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self._note()
            if path == "/health":
                self._answer(200, daemon.health)
            elif path == "/api/v1/profile":
                self._answer(200, PROFILES | {"profile": None})
            elif path == "/api/v1/decisions":
                self._decisions(daemon.asked[-1][2])
            elif path == "/api/v1/service/coder/logs":
                self.send_response(200)
                self.end_headers()
                self.wfile.write("one\ntwö\n".encode())
            else:
                self._answer(404, UNKNOWN)

        def _decisions(self, query: dict[str, list[str]]) -> None:
            match query:
                case {"service": [service]} if service != "coder":
                    self._answer(404, UNKNOWN)
                case {"request": [request]} if request != "mine":
                    self._answer(200, {"decisions": []})
                case {"request": _} | {"ticket": ["9"]}:
                    self._answer(200, {"decisions": [REFUSED]})
                case _:
                    self._answer(200, {"decisions": [EVICTED, REFUSED]})

        def do_POST(self) -> None:
            path = self._note()
            if path == "/v1/chat/completions":
                self._chat(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            elif path == "/api/v1/profile/day":
                self._answer(200, PROFILES | {"profile": "day"})
            elif path.startswith("/api/v1/service/busy/"):
                self._answer(504, BUSY)
            elif path.startswith("/api/v1/service/coder/"):
                state = {"stop": "down"}.get(path.rpartition("/")[2], "ready")
                run = None if state == "down" else 4
                self._answer(200, {"id": "coder", "state": state, "run": run})
            else:
                self._answer(404, UNKNOWN)

        def _chat(self, body: dict[str, Any]) -> None:
            """Answer as the model wants that is asked: see `CHATS`."""
            daemon.chats.append(body)
            events = CHATS.get(body["model"])
            if events is None:
                self._answer(503, BUSY)
                return
            self.send_response(200)
            self.end_headers()
            for event in events:
                self.wfile.write(f"{event}\n\n".encode())
            until = time.monotonic() + RUN_S
            while body["model"] == "endless" and time.monotonic() < until:
                try:
                    self.wfile.write(b": still here\n\n")
                except OSError:
                    daemon.left.set()
                    return
                time.sleep(0.02)

        def _note(self) -> str:
            daemon.shown.append(self.headers["Authorization"])
            parts = urlsplit(self.path)
            daemon.asked.append((self.command, parts.path, parse_qs(parts.query)))
            return parts.path

        def _answer(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    daemon.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    daemon.stop = stop
    try:
        yield daemon
    finally:
        stop()


def aiproxy(
    *arguments: str, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the real command, as a script would, with what is typed by a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "proxyserver", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
        env=clean(os.environ) | environment,
    )


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would lead the command elsewhere.

    What fetches the real server stays: on a fresh machine nothing else can.
    """
    leads = {name for name in environ if name.startswith("AIPROXY_")} - {"AIPROXY_UV"}
    return {name: value for name, value in environ.items() if name not in leads}
