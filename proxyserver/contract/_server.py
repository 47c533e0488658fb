"""A small server for the checks: it loads, fails, crashes and logs as its environment says.

It is run as a program of its own, and needs nothing but Python.
"""

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(line: str) -> None:
    """Log a line."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Handler(BaseHTTPRequestHandler):
    """Answers `/health` with 200 once loaded, and does what `/mock/...` says."""

    loaded = False

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/mock/crash":
            say("crashing, as told")
            # A real fault: the first process of a container would ignore a signal that is sent.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            ctypes.string_at(0)
        elif path == "/mock/log":
            say(query)
        self.send_response(200 if self.loaded else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: what is logged is what the checks look for."""


def load() -> None:
    """Load as the environment says; some loads end the process."""
    say("loading model mock")
    time.sleep(int(os.environ.get("LOAD_MS") or 0) / 1000)
    if os.environ.get("LOAD_OOM") == "1":
        say("allocating 9216.00 MiB on device 0: cudaMalloc failed: out of memory")
        os._exit(1)
    if code := os.environ.get("LOAD_EXIT"):
        say("loading failed, as told")
        os._exit(int(code))
    Handler.loaded = True


def main() -> None:
    """Serve until SIGTERM."""

    def end(number: int, frame: object) -> None:
        say("ending")
        os._exit(0)

    deaf = os.environ.get("IGNORE_TERM") == "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else end)
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]))
    server = ThreadingHTTPServer(address, Handler)
    threading.Thread(target=load, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
