"""A stand-in for an inference server, from the standard library alone: it streams your words back.

For the demo where no real server can be had.  Started as `python -P _demo_server.py --port N`.
"""

import argparse
import json
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY_MAX = 1 << 20
WORDS_MAX = 64
WORD_S = 0.02


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model = ""
    ready_at = 0.0

    def do_GET(self) -> None:
        if time.monotonic() < self.ready_at:
            self._answer(503, {"error": {"message": "Loading model", "type": "unavailable_error"}})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        else:
            self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), BODY_MAX)))
            asked = str(body["messages"][-1]["content"])
        except (KeyError, IndexError, TypeError, ValueError):
            self._answer(400, {"error": {"message": "no chat", "type": "invalid_request_error"}})
            return
        words = [f"{self.model} ", "heard: ", *(f"{word} " for word in asked.split()[:WORDS_MAX])]
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            self._answer(200, {"object": "chat.completion", "choices": [{"message": message}]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in words:
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            time.sleep(WORD_S)
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends the process."""
    flags = argparse.ArgumentParser()
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--name", default="demo")
    flags.add_argument("--load-s", type=float, default=0.3, help="how long it pretends to load")
    options = flags.parse_args(arguments)
    _Handler.model = options.name
    _Handler.ready_at = time.monotonic() + options.load_s
    ThreadingHTTPServer(("127.0.0.1", options.port), _Handler).serve_forever()


if __name__ == "__main__":
    serve()
