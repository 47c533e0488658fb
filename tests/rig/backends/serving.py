"""What the fakes share: a server of fixed answers, and a start that takes its time.

By the environment: `FAKE_LOAD_S` is how long a load takes, `FAKE_DIES` after how many answers to
anything but a probe it ends, with exit code 0; `FAKE_HOLD` is a file that a load waits for.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, Any]
Routes: TypeAlias = Mapping[tuple[str, str], Callable[[dict[str, Any]], Answer]]
"""By method and path: from the request's JSON to a status and an answer.

A text is sent as it is, as server-sent events; an iterator of texts as each comes; None is an empty
body.
"""

LOAD_S = float(os.environ.get("FAKE_LOAD_S", "0"))


def load() -> None:
    """Take the time of a load."""
    time.sleep(LOAD_S)


def hold() -> None:
    """Wait for a test that wants to see a load half done."""
    file = os.environ.get("FAKE_HOLD")
    ends_at = time.monotonic() + 60.0
    while file and not Path(file).exists() and time.monotonic() < ends_at:
        time.sleep(0.005)


def serve(host: str, port: int, routes: Routes, *, wants_json: Container[str] = ()) -> None:
    """Answer until the process ends; with 400 where JSON is wanted and none comes."""
    left = int(os.environ.get("FAKE_DIES", "-1"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            nonlocal left
            length = int(self.headers.get("content-length", 0))
            asked = json.loads(self.rfile.read(length)) if length else {}
            route = routes.get((self.command, self.path))
            is_json = length and self.headers.get("content-type") == "application/json"
            answered: Answer = (404, {"detail": "Not Found"})
            if self.path in wants_json and not is_json:
                answered = (400, {"detail": "Only 'application/json' is allowed"})
            elif route is not None:
                answered = route(asked)
            status, said = answered
            if isinstance(said, Iterator):
                self.stream(status, said)
                return
            body = (
                b""
                if said is None
                else (said if isinstance(said, str) else json.dumps(said)).encode()
            )
            kind = "text/event-stream" if isinstance(said, str) else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            if self.command == "POST":
                left -= 1
                if left == 0:
                    threading.Timer(0.05, os._exit, [0]).start()

        def stream(self, status: int, said: Iterator[str]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in said:
                self.wfile.write(piece.encode())
                self.wfile.flush()

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 -- The base class calls them so.

        def log_message(self, format: str, *args: Any) -> None:
            print(f'INFO:     "{self.requestline}"', flush=True)

    server = ThreadingHTTPServer((host, port), Handler)
    print(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)", flush=True)
    server.serve_forever()


def chat(model: str) -> Answer:
    """Answer a chat as OpenAI does."""
    message = {"role": "assistant", "content": f"I am {model}."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, {"object": "chat.completion", "model": model, "choices": [choice]}
