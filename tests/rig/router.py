"""A scripted llama-server in router mode: `router.py PORT FOLDER`, by what the real one answers.

Each file of the folder is a model by the name of the file, without its ending.  `broken` fails to
load, `stubborn` is never unloaded; the others take a moment, as real ones do.
"""

import json
import sys
import threading
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

    def become(self, name: str, *, loaded: bool) -> None:
        if name == "broken":
            self.models[name] = {"value": "unloaded", "exit_code": 3, "failed": True}
        elif loaded or name != "stubborn":
            self.models[name] = {"value": "loaded" if loaded else "unloaded"}


class Handler(BaseHTTPRequestHandler):
    """Answers as llama.cpp build 10434 does."""

    protocol_version = "HTTP/1.1"
    server: Router

    def do_GET(self) -> None:
        if self.path == "/health":
            self.say(200, {"status": "ok"})
        else:
            listed = [{"id": one, "status": status} for one, status in self.server.models.items()]
            self.say(200, {"data": listed, "object": "list"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["model"]
        value = self.server.models.get(name, {}).get("value")
        if self.path in ("/models/load", "/models/unload"):
            loads = self.path == "/models/load"
            if value != ("unloaded" if loads else "loaded"):
                self.say(400, {"error": {"message": f"model is {value}", "code": 400}})
                return
            if loads:
                self.server.models[name] = {"value": "loading"}
            threading.Timer(MOMENT_S, self.server.become, [name], {"loaded": loads}).start()
            self.say(200, {"success": True})
        elif value == "loaded":
            self.say(200, {"model": name, "choices": [{"message": {"content": f"I am {name}"}}]})
        else:
            self.say(400, {"error": {"message": f"model {name!r} is {value}", "code": 400}})

    def say(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Router(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
