"""Who lacks memory learns it with figures, wherever he looks: answer, log, command line."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.daemon.rig import Daemon
from tests.gguf.writing import dense, dense_tensors, words, write

FULL = "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 5.4 MiB on device 0: cudaMalloc "
REMEDY = re.compile(
    r"y estimate it takes [\d.]+ GiB of vram and [\d.]+ MiB of ram: lower `ctx` from 200000 to \d+,"
    r" or set `cache_type_k` and `cache_type_v` to q\d_0"
)


def test_a_full_gpu(new_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """A model that does not fit is tried twice; then it is said which options would make it fit.

    The server is a line of shell that says what llama.cpp says; the model's head is a real one.
    """
    model = write(tmp_path / "x.gguf", dense(6) | words(), dense_tensors(6))
    binary = tmp_path / "llama-server"
    binary.write_text(f"#!/bin/sh\necho '{FULL}failed: out of memory'; exit 1\n")
    binary.chmod(0o755)
    service = {"type": "llamacpp", "model": str(model), "ctx": 200000, "binary": str(binary)}
    gpus = {"gpu0": {"memory": "4GiB", "headroom": "512MiB"}}
    daemon = new_daemon({"coder": service}, runtime="process", devices=gpus)
    found = REMEDY.search(daemon.log)
    assert found is not None
    remedy = found[0]
    assert f"it needs more than any device here can give: b{remedy}" in daemon.log
    answer = daemon.chat("coder")
    assert answer.status_code == 503
    said = answer.json()["error"]["message"]
    assert said.endswith(
        "Coder claimed 3.5 GiB on gpu0, where 3.5 GiB are free at most; 0.2 GiB on ram, where"
        f" 2.0 GiB are free at most. B{remedy}"
    )
    assert f"once more, with more room: {said}" in daemon.log
    assert remedy in daemon.service("coder")["cause"]["message"]
    assert remedy in " ".join(daemon.command("status").stdout.split())
