"""LMDeploy, modelled on its source of August 2026 (`management.py`, `server_utils.py`).

/health is 200 while it sleeps; requests are answered by 503 then; /sleep and /wakeup refuse what is
not sent as JSON; to sleep it breaks what is in flight off.
"""

import argparse
from typing import Any

from tests.rig.backends.serving import Answer, chat, load, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="lmdeploy")
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("api_server", choices=["api_server"])
    parser.add_argument("model")
    parser.add_argument("--server-name", default="0.0.0.0")
    parser.add_argument("--server-port", type=int, default=23333)
    parser.add_argument("--model-name")
    told = parser.parse_args()
    asleep = False
    load()

    def complete(_: dict[str, Any]) -> Answer:
        if asleep:
            return 503, {"message": "Engine is sleeping; call POST /wakeup before inference"}
        return chat(told.model_name)

    def turn(to: bool) -> Answer:
        nonlocal asleep
        asleep = to
        return 200, None

    serve(
        told.server_name,
        told.server_port,
        {
            ("GET", "/health"): lambda _: (200, {"status": "sleeping" if asleep else "healthy"}),
            ("POST", "/sleep?level=1"): lambda _: turn(True),
            ("POST", "/wakeup"): lambda _: turn(False),
            ("POST", "/v1/chat/completions"): complete,
        },
        wants_json=("/sleep?level=1", "/wakeup"),
    )


if __name__ == "__main__":
    main()
