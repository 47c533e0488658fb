"""infinity, modelled on 0.0.78 itself: run on CPU with its debug engine, without torch.

It refuses connections until it is ready; /health has no prefix; with one model any name is
accepted, with several an unknown one is answered by 400 and a list of the names.
"""

import argparse
import time
from typing import Any

from tests.rig.backends.serving import Answer, load, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="infinity_emb")
    commands = parser.add_subparsers(required=True)
    v2 = commands.add_parser("v2")
    v2.add_argument("--model-id", action="append", required=True)
    v2.add_argument("--served-model-name", action="append")
    v2.add_argument("--host", default="0.0.0.0")
    v2.add_argument("--port", type=int, default=7997)
    v2.add_argument("--url-prefix", default="")
    v2.add_argument("--engine", choices=["torch", "optimum", "ctranslate2", "debugengine"])
    v2.add_argument("--batch-size", type=int)
    v2.add_argument("--trust-remote-code", action=argparse.BooleanOptionalAction)
    v2.add_argument("--model-warmup", action=argparse.BooleanOptionalAction)
    told = parser.parse_args()
    names = told.served_model_name or told.model_id
    load()

    def embed(asked: dict[str, Any]) -> Answer:
        model = names[0] if len(names) == 1 else asked.get("model")
        if model not in names:
            said = f"Invalid model: {model}. Currently available models are: {names}"
            return 400, {"error": {"message": said, "type": None, "param": None, "code": 400}}
        many = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [
            {"object": "embedding", "embedding": [1.0] * 4, "index": index}
            for index in range(len(many))
        ]
        return 200, {"object": "list", "data": data, "model": model}

    stats = {"queue_fraction": 0.0, "queue_absolute": 0, "results_pending": 0, "batch_size": 32}
    models = [{"id": one, "stats": stats, "object": "model"} for one in names]
    serve(
        told.host,
        told.port,
        {
            ("GET", "/health"): lambda _: (200, {"unix": time.time()}),
            ("GET", f"{told.url_prefix}/models"): lambda _: (200, {"data": models}),
            ("POST", f"{told.url_prefix}/embeddings"): embed,
        },
    )


if __name__ == "__main__":
    main()
