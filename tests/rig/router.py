"""A scripted llama-server in router mode: `router.py PORT FOLDER`, by what the real one answers.

Each file of the folder is a model by the name of the file, without its ending.  `broken` fails to
load, `stubborn` is never unloaded, `held` is half loaded until there is a file `go` beside the
folder; the others take a moment, as real ones do.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MOMENT_S = 0.15


class Router(ThreadingHTTPServer):
    """The models, and how each is."""

    daemon_threads = True

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        names = sorted(path.stem for path in folder.iterdir())
        self.models: dict[str, dict[str, Any]] = {name: {"value": "unloaded"} for name in names}
        self.go = folder.parent / "go"

    def become(self, name: str, *, loaded: bool) -> None:
        while name == "held" and loaded and not self.go.exists():
            time.sleep(0.005)
        if name == "broken":
            self.models[name] = {"value": "unloaded", "exit_code": 1, "failed": True}
        elif loaded or name != "stubborn":
            self.models[name] = {"value": "loaded" if loaded else "unloaded"}


class Handler(BaseHTTPRequestHandler):
    """Answers as llama.cpp does from build 10068 on; see test_router_contract.py."""

    protocol_version = "HTTP/1.1"
    server: Router

    def do_GET(self) -> None:
        if self.path == "/health":
            self.say(200, {"status": "ok"})
        elif self.path == "/models/sse":
            self.tell_events()
        else:
            listed = [{"id": one, "status": status} for one, status in self.server.models.items()]
            self.say(200, {"data": listed, "object": "list"})

    def tell_events(self) -> None:
        """Tell of every model that is loading, again and again, until nobody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            for name, status in [*self.server.models.items()]:
                if status["value"] == "loading":
                    stages = ["text_model", "mmproj_model"]
                    progress = {"stages": stages, "current": stages[0], "value": 0.5}
                    told = {"status": "loading", "progress": progress}
                    event = {"model": name, "event": "status_change", "data": told}
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                    self.wfile.flush()
            time.sleep(0.02)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["model"]
        value = self.server.models.get(name, {}).get("value")
        if self.path == "/models/load":
            if value is None:
                self.refuse(404, "File Not Found", "not_found_error")
            elif value != "unloaded":
                self.refuse(400, "model is already running")
            else:
                self.server.models[name] = {"value": "loading"}
                self.begin(name, loaded=True)
        elif self.path == "/models/unload":
            if value is None:
                self.refuse(400, "model is not found")
            elif value == "unloaded":
                self.refuse(400, "model is not running")
            else:
                self.begin(name, loaded=False)
        elif value == "loaded":
            self.say(200, {"model": name, "choices": [{"message": {"content": f"I am {name}"}}]})
        else:
            known = value is not None
            self.refuse(400, "model is not loaded" if known else f"model '{name}' not found")

    def begin(self, name: str, *, loaded: bool) -> None:
        threading.Timer(MOMENT_S, self.server.become, [name], {"loaded": loaded}).start()
        self.say(200, {"success": True})

    def refuse(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        self.say(status, {"error": {"message": message, "type": kind, "code": status}})

    def say(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Router(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
