"""vLLM, modelled on the project's notes on 0.33 (its source and documents).

It does not listen before its engine is ready, answers /health with an empty body, knows no model
but those that it was told to serve, and its engine may die with exit code 0.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from tests.rig.backends.serving import Answer, chat, load, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="vllm")
    commands = parser.add_subparsers(required=True)
    start = commands.add_parser("serve")
    start.add_argument("model")
    start.add_argument("--host")
    start.add_argument("--port", type=int, default=8000)
    start.add_argument("--served-model-name", nargs="+")
    start.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    start.add_argument("--tensor-parallel-size", type=int, default=1)
    start.add_argument("--max-model-len", type=int)
    start.add_argument("--enable-sleep-mode", action="store_true")
    told = parser.parse_args()
    asleep = False
    load()
    if told.model == "fake/too-large":
        print(
            "ValueError: Free memory on device cuda:0 (3.2/23.6 GiB) on startup is less than"
            " desired GPU memory utilization (0.9, 21.3 GiB).",
            flush=True,
        )
        raise RuntimeError("Engine core initialization failed. See root cause above.")
    names = told.served_model_name or [told.model]

    def complete(asked: dict[str, Any]) -> Answer:
        if asleep:
            time.sleep(3600)  # As the real one: whoever asks a sleeper waits for ever.
        if asked.get("model") not in names:
            said = f"The model `{asked.get('model')}` does not exist."
            return 404, {"error": {"message": said, "type": "NotFoundError", "code": 404}}
        return chat(names[0])

    def turn(to: bool) -> Answer:
        nonlocal asleep
        asleep = to
        return 200, None

    # Its paths of administration are there in the mode of developers alone.
    can_sleep = told.enable_sleep_mode and os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
    turns: dict[tuple[str, str], Callable[[dict[str, Any]], Answer]] = {
        ("POST", "/sleep?level=1&mode=wait"): lambda _: turn(True),
        ("POST", "/wake_up"): lambda _: turn(False),
    }
    serve(
        told.host or "0.0.0.0",
        told.port,
        {
            ("GET", "/health"): lambda _: (200, None),
            ("GET", "/v1/models"): lambda _: (200, {"data": [{"id": name} for name in names]}),
            ("POST", "/v1/chat/completions"): complete,
            **(turns if can_sleep else {}),
        },
    )


if __name__ == "__main__":
    main()
