"""vLLM, modelled on the project's notes on 0.33 (its source and documents).

It does not listen before its engine is ready, answers /health with an empty body, knows no model
but those that it was told to serve, and its engine may die with exit code 0.  Asleep it lets
requests hang; at level 2 it answers nonsense until its weights are read anew; its log says what it
still uses (`FAKE_FREED` and `FAKE_USED`, in GiB, a line each for as many GPUs as it has).
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
    lacks: set[str] = set()
    nonsense = False
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
        if lacks:
            time.sleep(3600)  # As the real one: whoever asks a sleeper waits for ever.
        if asked.get("model") not in names:
            said = f"The model `{asked.get('model')}` does not exist."
            return 404, {"error": {"message": said, "type": "NotFoundError", "code": 404}}
        return chat("nonsense" if nonsense else names[0])

    def sleep(level: int) -> Answer:
        nonlocal nonsense
        nonsense = level == 2
        lacks.update(("weights", "kv_cache"))
        freed, used = os.environ.get("FAKE_FREED", "1.00"), os.environ.get("FAKE_USED", "1.00")
        for _ in range(told.tensor_parallel_size):
            print(
                f"INFO 11-27 10:00:00 [gpu_worker.py:160] Sleep mode freed {freed} GiB memory,"
                f" {used} GiB memory is still in use.",
                flush=True,
            )
        return 200, None

    def wake(*tags: str) -> Answer:
        lacks.difference_update(tags or ("weights", "kv_cache"))
        return 200, None

    def call(asked: dict[str, Any]) -> Answer:
        nonlocal nonsense
        if asked.get("method") != "reload_weights" or "weights" in lacks:
            return 500, {"error": {"message": "no memory to read them into"}}
        nonsense = False
        return 200, {"results": [None]}

    # Its paths of administration are there in the mode of developers alone.
    can_sleep = told.enable_sleep_mode and os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
    turns: dict[tuple[str, str], Callable[[dict[str, Any]], Answer]] = {
        ("POST", "/sleep?level=1&mode=wait"): lambda _: sleep(1),
        ("POST", "/sleep?level=2&mode=wait"): lambda _: sleep(2),
        ("POST", "/wake_up"): lambda _: wake(),
        ("POST", "/wake_up?tags=weights"): lambda _: wake("weights"),
        ("POST", "/wake_up?tags=kv_cache"): lambda _: wake("kv_cache"),
        ("POST", "/collective_rpc"): call,
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
