"""What the fakes share: a server of fixed answers, and a start that takes its time.

By the environment: `FAKE_LOAD_S` is how long a load takes, `FAKE_DIES` after how many answers to
anything but a probe it ends, with exit code 0.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Container, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, Any]
Routes: TypeAlias = Mapping[tuple[str, str], Callable[[dict[str, Any]], Answer]]
"""By method and path: from the request's JSON to a status and an answer.

A text is sent as it is, as server-sent events; None is an empty body.
"""

LOAD_S = float(os.environ.get("FAKE_LOAD_S", "0"))


def load() -> None:
    """Take the time of a load."""
    time.sleep(LOAD_S)


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

        do_GET = do_POST = answer  # noqa: N815 -- The base class calls them so.

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
