"""What the docker runtime makes of an engine that answers wrongly, or not at all."""

import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxycore import RunId, ServiceId
from proxyserver.runtime import DockerRuntime, LaunchSpec, ProcessSpec, RuntimeUnreachable

ALPHA = ServiceId("alpha")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _OnlyErrors(http.server.BaseHTTPRequestHandler):
    """Knows its version, and fails at everything else."""

    def do_GET(self) -> None:
        known = self.path.endswith("/version")
        body = b'{"ApiVersion": "1.41", "Version": "0"}' if known else b'{"message": "bad disk"}'
        self.send_response(200 if known else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a unix socket"  # Which has no address that the library could tell.

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the test's output is for the test."""


class _Hangs(socketserver.BaseRequestHandler):
    """Listens until the other side has enough."""

    def handle(self) -> None:
        while self.request.recv(4096):
            pass


@contextmanager
def sick_engine(
    folder: Path, handler: Callable[..., socketserver.BaseRequestHandler]
) -> Iterator[DockerRuntime]:
    path = folder / "engine.sock"
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield DockerRuntime(instance="test", docker_host=f"unix://{path}", state_dir=folder)
        finally:
            server.shutdown()
            thread.join()


async def test_one_that_has_only_errors_is_as_good_as_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its errors are the world's fault: never an exception of its SDK, which nobody expects."""
    with sick_engine(tmp_path, _OnlyErrors) as runtime:
        with pytest.raises(RuntimeUnreachable, match="bad disk"):
            await runtime.found()
        with pytest.raises(RuntimeUnreachable, match="bad disk"):
            await runtime.kill(ALPHA, RunId(1))
        with pytest.raises(RuntimeUnreachable, match="bad disk"):
            await runtime.forget(ALPHA, RunId(1))
        spec = LaunchSpec(ALPHA, ProcessSpec(("true",)))
        with trio.move_on_after(60.0) as patience:
            await runtime.wait_gone(spec, RunId(1))
        assert patience.cancelled_caught, "nobody knows whether it has ended"


async def test_one_that_hangs_is_found_out(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A daemon starts with such an engine: it does not wait for it."""
    with sick_engine(tmp_path, _Hangs) as runtime:
        with pytest.raises(RuntimeUnreachable, match="no answer within 5 s"):
            await runtime.check()
        assert trio.current_time() < 60.0
