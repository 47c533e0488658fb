"""SGLang, modelled on its source of 0.5 (`http_server.py`) and the project's notes on it.

It listens before it is ready, which /ready tells; /health would generate a token.  To give memory
back it must have been started with a memory saver, and is asked with a JSON body; without a copy of
its weights in main memory it wakes and answers nonsense.
"""

import argparse
import sys
from typing import Any

from tests.rig.backends.serving import Answer, chat, load, serve


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="module", choices=["sglang.launch_server"], required=True)
    for flag in "model-path host served-model-name context-length tp-size".split():
        parser.add_argument(f"--{flag}")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--mem-fraction-static", type=float)
    parser.add_argument("--enable-memory-saver", action="store_true")
    parser.add_argument("--enable-weights-cpu-backup", action="store_true")
    told = parser.parse_args()
    released = nonsense = False
    load()

    def complete(_: dict[str, Any]) -> Answer:
        if released:
            sys.exit(1)  # It touches memory that is not there.
        return chat("nonsense" if nonsense else told.served_model_name)

    def turn(to: bool) -> Answer:
        nonlocal released, nonsense
        if not told.enable_memory_saver:
            return 400, {"error": {"message": "memory saver is not enabled"}}
        released = to
        nonsense = not told.enable_weights_cpu_backup
        return 200, {}

    def health(_: dict[str, Any]) -> Answer:
        print("asked to generate a token for /health", flush=True)
        return 200, None

    serve(
        told.host or "127.0.0.1",
        told.port,
        {
            ("GET", "/ready"): lambda _: (200, None),
            ("GET", "/health"): health,
            ("POST", "/release_memory_occupation"): lambda _: turn(True),
            ("POST", "/resume_memory_occupation"): lambda _: turn(False),
            ("POST", "/v1/chat/completions"): complete,
        },
        wants_json=("/release_memory_occupation", "/resume_memory_occupation"),
    )


if __name__ == "__main__":
    main()
