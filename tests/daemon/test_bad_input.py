"""What no server may take costs a daemon next to nothing, however much of it comes at once."""

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.daemon.rig import PATIENCE_S, Daemon, process_flavour
from tests.http.bombs import BOMBS, MIB, Bomb
from tests.http.malformed import HEADS

NewDaemon = Callable[..., Daemon]
AT_ONCE = 8
ROOM = 24 * MIB
"""What all of them together may take: a thirtieth of what they send."""
LANES = {
    "fast": (),
    "hypercorn": ("--request-target", "{url}/v1/chat/completions"),
    "h2": ("--http2-prior-knowledge",),
}
"""Options of curl; whole URLs as targets are for the other lane."""
TEXT = Bomb("request_too_large", b'{"a": "', b"a")
"""Nothing is wrong with it but its size."""


@pytest.fixture
def daemon(mock_binary: Path, new_daemon: NewDaemon) -> Daemon:
    service = process_flavour(mock_binary).mock({})
    daemon = new_daemon({"coder": service}, body_max="1MiB", spill_max="8MiB")
    assert daemon.chat("coder").status_code == 200
    return daemon


class Peak:
    """The most memory that a daemon held since then, in bytes."""

    def __init__(self, daemon: Daemon) -> None:
        self._folder = Path(f"/proc/{daemon.pid}")
        (self._folder / "clear_refs").write_text("5")
        self._before = self._now()

    def _now(self) -> int:
        status = (self._folder / "status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def grown_by(self) -> int:
        return self._now() - self._before


@pytest.mark.slow
@pytest.mark.curl
@pytest.mark.parametrize("lane", LANES)
def test_bombs_at_once_are_refused_in_little_memory(
    daemon: Daemon, tmp_path: Path, lane: str
) -> None:
    """Each by its code; what is large and no more than that waits on disk until it is too much."""
    peak = Peak(daemon)
    file = tmp_path / "bomb"
    for bomb in (*BOMBS.values(), TEXT):
        with file.open("wb") as out:
            out.writelines(bomb.pieces())
        words = [
            *("curl", "-sS", "--max-time", f"{PATIENCE_S}", "-X", "POST", "-T", str(file)),
            *("-H", f"Content-Type: {bomb.kind}", "-H", "Expect:"),
            *(word.format(url=daemon.url) for word in LANES[lane]),
            f"{daemon.url}/v1/chat/completions",
        ]
        curls = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(AT_ONCE)]
        said = [curl.communicate(timeout=2 * PATIENCE_S)[0] for curl in curls]
        assert {json.loads(one)["error"]["code"] for one in said} == {bomb.code}
    assert peak.grown_by() < ROOM
    assert daemon.chat("coder").status_code == 200


@pytest.mark.slow
def test_malformed_heads_at_once_are_refused_in_little_memory(daemon: Daemon) -> None:
    """With a status below 500 but for what is not implemented, or a connection that is closed."""
    place = urlsplit(daemon.url)
    peak = Peak(daemon)

    def throw(data: bytes) -> Iterator[bytes]:
        address = (str(place.hostname), place.port or 80)
        with socket.create_connection(address, timeout=PATIENCE_S) as client:
            with suppress(OSError):  # It does not want the rest.
                client.sendall(data)
            with suppress(ConnectionResetError):
                while data := client.recv(65536):
                    yield data

    with ThreadPoolExecutor(AT_ONCE) as throwers:
        cases = [case for case in HEADS for _ in range(AT_ONCE)]
        answers = throwers.map(lambda case: b"".join(throw(case.data)), cases)
        told = Counter(
            (case.name, int(answer.split()[1]) if answer else None)
            for case, answer in zip(cases, answers, strict=True)
        )
    allowed = {case.name: {*case.statuses, None} for case in HEADS}
    assert [one for one in told if one[1] not in allowed[one[0]]] == []
    assert sum(count for one, count in told.items() if one[1] is None) < len(cases) / 10
    assert peak.grown_by() < ROOM
    assert daemon.chat("coder").status_code == 200
