"""The clients of the benchmarks: light, since they share the machine with what they measure."""

import http.client
import json
import socket
import time
from typing import Any

ANSWER_S = 30.0
"""Far above what anything here takes."""
_PROBE_S = 1.0
_PAUSE_S = 0.0005
"""A tenth of the shortest pause between two of the proxy's own probes."""


class NoAnswer(Exception):
    """Something that is measured does not work; the text says what."""


class Question:
    """A request that was sent; its answer may take its time.

    Args:
        port: where to, on the loopback interface.
        body: sent as JSON; None: nothing is sent.
    """

    def __init__(
        self, port: int, path: str, body: dict[str, Any] | None = None, method: str = "GET"
    ) -> None:
        self._what = f"{method} {path}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, headers)

    def first_byte_at(self) -> float:
        """Wait for the first byte of the answer's body; return when it came.

        Raises:
            NoAnswer: it is an error.
        """
        self._read(1)
        return time.monotonic()

    def json(self) -> Any:
        """Wait for the whole answer.

        Raises:
            NoAnswer: it is an error.
        """
        return json.loads(self._read(None))

    def _read(self, first: int | None) -> bytes:
        answer = self._connection.getresponse()
        data = answer.read(first)
        # Read to its end: hanging up would make a server stop in the middle of its work.
        rest = answer.read() if first is not None and answer.status != http.client.OK else b""
        if answer.status != http.client.OK:
            raise NoAnswer(f"{self._what}: HTTP {answer.status}: {(data + rest).decode()}")
        return data


def wait_answering(
    port: int, path: str, pause_s: float = _PAUSE_S, patience_s: float = ANSWER_S
) -> float | None:
    """Ask a server directly, time after time, until it says yes.

    Returns:
        When it was last asked in vain: by then it was not ready.  None: it said yes at once.

    Raises:
        NoAnswer: it never says yes.
    """
    give_up_at = time.monotonic() + patience_s
    in_vain_at = None
    while True:
        asked_at = time.monotonic()
        if _says_yes(port, path):
            return in_vain_at
        if asked_at > give_up_at:
            raise NoAnswer(f"port {port}: GET {path} finds no ready server")
        in_vain_at = asked_at
        time.sleep(pause_s)


def _says_yes(port: int, path: str) -> bool:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    try:
        # From 127.0.0.2: from 127.0.0.1, a connection to a port where nobody listens yet may be
        # given that port as its own, and reach itself.
        with socket.create_connection(
            ("127.0.0.1", port), _PROBE_S, source_address=("127.0.0.2", 0)
        ) as stream:
            stream.sendall(request.encode())
            return stream.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False
