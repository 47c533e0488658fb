"""Speaches, modelled on its source of 2026 (`routers/misc.py`).

The models are those of `FAKE_MODELS`; a load is answered when it is over: 201, 409 where it is
loaded already, 404 where it is not there.
"""

import argparse
import os
from functools import partial
from typing import Any

from tests.rig.backends.serving import Answer, chat, load, serve


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--factory")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    told = parser.parse_args()
    loaded: list[str] = []

    def take(name: str, _: dict[str, Any]) -> Answer:
        if name in loaded:
            return 409, {"message": f"Model '{name}' is already loaded."}
        load()
        loaded.append(name)
        return 201, {"message": f"Model '{name}' loaded."}

    def drop(name: str, _: dict[str, Any]) -> Answer:
        if name not in loaded:
            return 404, {"message": f"Model {name} is not loaded."}
        loaded.remove(name)
        return 200, {"message": f"Model {name} unloaded."}

    def missing(name: str, _: dict[str, Any]) -> Answer:
        return 404, {"detail": f"Model '{name}' is not installed locally."}

    models = os.environ["FAKE_MODELS"].split()
    serve(
        told.host,
        told.port,
        {
            ("GET", "/health"): lambda _: (200, {"message": "OK"}),
            ("GET", "/api/ps"): lambda _: (200, {"models": loaded}),
            **{("POST", f"/api/ps/{name}"): partial(take, name) for name in models},
            **{("DELETE", f"/api/ps/{name}"): partial(drop, name) for name in models},
            ("POST", "/api/ps/none"): partial(missing, "none"),
            ("POST", "/v1/chat/completions"): lambda asked: (
                chat(asked["model"]) if asked["model"] in loaded else (500, {"detail": "lazy"})
            ),
        },
    )


if __name__ == "__main__":
    main()
