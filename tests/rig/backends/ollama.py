"""Ollama, modelled on its source of August 2026 (`routes.go`, `sched.go`).

The models are those of `FAKE_MODELS`, by whole names; one called `embedder` cannot generate, and
one called `broken` cannot be loaded.  It loads what is asked for, holds `OLLAMA_MAX_LOADED_MODELS`
and makes room by itself; while it loads, `/api/ps` waits.
"""

import os
import sys
import threading
from typing import Any

from tests.rig.backends.serving import Answer, chat, hold, load, serve


def whole(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def main() -> None:
    assert sys.argv[1:] == ["serve"], sys.argv
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    known = os.environ["FAKE_MODELS"].split()
    most = int(os.environ["OLLAMA_MAX_LOADED_MODELS"])
    loaded: list[str] = []
    busy = threading.Lock()

    def take(name: str) -> None:
        with busy:
            if name in loaded:
                return
            if len(loaded) >= most:
                print(f"evicts {loaded.pop(0)} by itself", flush=True)
            hold()
            load()
            loaded.append(name)
            print(f"loaded {name}", flush=True)

    def generate(asked: dict[str, Any]) -> Answer:
        name = whole(asked["model"])
        if name not in known:
            return 404, {"error": f"model '{asked['model']}' not found"}
        if not asked.get("prompt") and asked.get("keep_alive") == 0:
            if name in loaded:
                loaded.remove(name)
            return 200, {"model": asked["model"], "done": True, "done_reason": "unload"}
        if name.startswith("embedder"):
            return 400, {"error": f'"{asked["model"]}" does not support generate'}
        if name.startswith("broken"):
            return 500, {"error": "model requires more system memory than is available"}
        take(name)
        return 200, {"model": asked["model"], "done": True, "done_reason": "load"}

    def embed(asked: dict[str, Any]) -> Answer:
        take(whole(asked["model"]))
        return 200, {"embedding": []}

    def complete(asked: dict[str, Any]) -> Answer:
        take(whole(asked["model"]))
        return chat(asked["model"])

    def listed(names: list[str]) -> Answer:
        with busy:
            return 200, {"models": [{"name": name, "model": name} for name in names]}

    serve(
        host,
        int(port),
        {
            ("GET", "/api/version"): lambda _: (200, {"version": "0.0.0"}),
            ("GET", "/api/ps"): lambda _: listed(loaded),
            ("GET", "/api/tags"): lambda _: listed(known),
            ("POST", "/api/generate"): generate,
            ("POST", "/api/embeddings"): embed,
            ("POST", "/v1/chat/completions"): complete,
            ("POST", "/v1/embeddings"): lambda asked: (200, {"model": asked["model"], "data": []}),
        },
    )


if __name__ == "__main__":
    main()
