"""Models that come into a folder and go from it, while the daemon serves from it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.rig import Daemon, events, process_flavour, text_of, wait_until
from tests.gguf.writing import dense, dense_tensors, head, write

NewDaemon = Callable[..., Daemon]
STREAMS = 8


def model(path: Path) -> Path:
    return write(path, dense(1), dense_tensors(1))


def names(daemon: Daemon) -> list[str]:
    return [one["id"] for one in daemon.get("/v1/models").json()["data"]]


@pytest.mark.mock_binary
def test_models_come_and_go_and_streams_live_on(
    mock_binary: Path, new_daemon: NewDaemon, tmp_path: Path
) -> None:
    """A file is offered once it is whole; who streams from another notices nothing of it all."""
    folder = tmp_path / "models"
    folder.mkdir()
    model(folder / "first.gguf")
    process = process_flavour(mock_binary).mock({"TOKEN_MS": "1500"})
    local = {"type": "llamacpp", "models_dir": str(folder), "memory": {"ram": "1MiB"}, **process}
    daemon = new_daemon({"local": local})
    assert names(daemon) == ["first"]
    texts: list[str] = []

    def stream() -> None:
        with daemon.stream("first") as answer:
            texts.append(text_of(events(answer)))

    streams = [threading.Thread(target=stream) for _ in range(STREAMS)]
    for one in streams:
        one.start()
    wait_until("the streams", lambda: bool(daemon.service("first")["in_flight"] == STREAMS))
    run = daemon.service("first")["run"]

    growing = folder / "second.gguf"
    growing.write_bytes(head(dense(1), dense_tensors(1)))
    model(folder / "third.gguf")
    wait_until("the third model", lambda: "third" in names(daemon))
    assert names(daemon) == ["first", "third"]
    model(growing)
    wait_until("the second model", lambda: "second" in names(daemon))
    assert daemon.chat("second").status_code == 200
    growing.unlink()
    wait_until("that it is gone", lambda: names(daemon) == ["first", "third"])
    wait_until(
        "that nothing is left", lambda: len(daemon.get("/api/v1/services").json()["services"]) == 2
    )
    refused = daemon.chat("second")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    for one in streams:
        one.join()
    assert len(texts) == STREAMS
    assert set(texts) == {texts[0]}
    assert texts[0].startswith("Once upon a time")
    assert daemon.service("first")["run"] == run
