"""tabbyAPI, modelled on its source of August 2026.

It loads before it listens where it is told a model; /health is 200 without one, /v1/model 503; a
port that is taken makes it move to the next; a failed load is HTTP 200 with an error in its body;
it serves whatever `model` says.  A load goes on when whoever asked for it leaves in the real one;
here it does not.
"""

import argparse
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.rig.backends.serving import Answer, chat, hold, load, serve


def is_taken(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def events(*values: object) -> str:
    return "".join(f"data: {json.dumps(value)}\r\n\r\n" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser()
    # All of its flags take a value.
    for flag in "host port disable-auth model-dir model-name max-seq-len cache-size".split():
        parser.add_argument(f"--{flag}")
    parser.add_argument("--cache-mode")
    told = parser.parse_args()
    port = int(told.port or 5000)
    if is_taken(port):
        if is_taken(port + 1):
            sys.exit(0)
        print(f"WARNING: Port {port} is currently in use. Switching to {port + 1}.", flush=True)
        port += 1
    folder = Path(told.model_dir or "models")
    loaded = ""

    def take(name: str) -> None:
        nonlocal loaded
        if not (folder / name / "config.json").is_file():
            raise ValueError(f"Failed to load config.json from {folder / name}")
        load()
        loaded = name

    if told.model_name:
        take(told.model_name)

    def current(_: dict[str, Any]) -> Answer:
        if not loaded:
            return 503, {"detail": "No models are currently loaded."}
        return 200, {"id": loaded, "object": "model", "parameters": {"max_seq_len": 4096}}

    def load_model(asked: dict[str, Any]) -> Answer:
        name = asked.get("model_name", "")
        print(f"asked to load {json.dumps(asked)}", flush=True)
        if not (folder / name).exists():
            return 400, {"detail": "Could not find the model path for load."}
        return 200, loading(name)

    def loading(name: str) -> Iterator[str]:
        nonlocal loaded
        loaded = ""
        step = {"model_type": "model", "module": 1, "modules": 4, "status": "processing"}
        yield events(step)
        yield ": ping - 2026-11-27 10:00:00\r\n\r\n"
        hold()
        try:
            take(name)
        except ValueError as error:
            yield events({"error": {"message": str(error), "trace": None}})
            return
        yield events(step | {"module": 4}, step | {"module": 4, "status": "finished"})

    def unload(_: dict[str, Any]) -> Answer:
        nonlocal loaded
        loaded = ""
        return 200, None

    serve(
        told.host or "127.0.0.1",
        port,
        {
            ("GET", "/health"): lambda _: (200, {"status": "healthy", "issues": []}),
            ("GET", "/v1/model"): current,
            ("POST", "/v1/model/load"): load_model,
            ("POST", "/v1/model/unload"): unload,
            ("POST", "/v1/chat/completions"): lambda _: (
                chat(loaded) if loaded else (503, {"detail": "No models are currently loaded."})
            ),
        },
    )


if __name__ == "__main__":
    main()
