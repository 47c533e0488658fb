"""llama.cpp's own HTTP server out of the wheel `xllamacpp`, behind llama-server's flags.

The prebuilt llama-server (see `parts.py`) runs only on the newest processors; this wheel runs on
any, but brings no program.  It knows the flags that the llamacpp template and the demo use and
refuses others, so that a demo on this and one on llama-server do the same.
"""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
FLASH_ATTENTION = {
    "auto": "LLAMA_FLASH_ATTN_TYPE_AUTO",
    "on": "LLAMA_FLASH_ATTN_TYPE_ENABLED",
    "off": "LLAMA_FLASH_ATTN_TYPE_DISABLED",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags, by llama-server's own names."""
    flags = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    flags.add_argument("-m", "--model", required=True)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, default=8080)
    flags.add_argument("-a", "--alias", default="")
    flags.add_argument("-t", "--threads", type=int, default=-1)
    flags.add_argument("-c", "--ctx-size", type=int, default=0)
    flags.add_argument("-np", "--parallel", type=int, default=1)
    flags.add_argument("-ngl", "--gpu-layers", "--n-gpu-layers", default="0")
    flags.add_argument("-dev", "--device", choices=["none"], default="none")
    flags.add_argument("-fit", "--fit", choices=["on", "off"], default="on")
    flags.add_argument("-ctk", "--cache-type-k", choices=CACHE_TYPES, default="f16")
    flags.add_argument("-ctv", "--cache-type-v", choices=CACHE_TYPES, default="f16")
    flags.add_argument("-fa", "--flash-attn", choices=FLASH_ATTENTION, default="auto")
    flags.add_argument("-b", "--batch-size", type=int, default=2048)
    flags.add_argument("-ub", "--ubatch-size", type=int, default=512)
    flags.add_argument("-cram", "--cache-ram", type=int, default=8192)
    flags.add_argument("-lv", "--verbosity", type=int, default=3)
    flags.add_argument("--sse-ping-interval", type=int, default=30)
    flags.add_argument("--metrics", action="store_true")
    flags.add_argument("--embedding", "--embeddings", action="store_true")
    flags.add_argument("--warmup", action=argparse.BooleanOptionalAction, default=True)
    flags.add_argument("--ui", "--webui", action=argparse.BooleanOptionalAction, default=True)
    return flags


def serve(arguments: Sequence[str] | None = None) -> None:
    """Serve one model until a signal ends the process."""
    flags = parser().parse_args(arguments)
    if not Path(flags.model).is_file():
        # The wheel's own message names neither the file nor the reason.
        raise SystemExit(f"failed to open GGUF file '{flags.model}' (No such file or directory)")
    # The signals' own action, death at once: a load that runs in C lets no Python handler in.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    import xllamacpp  # type: ignore[import-not-found]  # There for the demo alone.

    params = xllamacpp.CommonParams()
    params.model.path = flags.model
    params.hostnames = [flags.host]
    params.port = flags.port
    params.model_alias = {flags.alias} if flags.alias else set()
    params.n_ctx = flags.ctx_size
    params.n_parallel = flags.parallel
    params.n_gpu_layers = 0
    params.cache_type_k = _cache_type(xllamacpp, flags.cache_type_k)
    params.cache_type_v = _cache_type(xllamacpp, flags.cache_type_v)
    params.flash_attn_type = getattr(
        xllamacpp.llama_flash_attn_type, FLASH_ATTENTION[flags.flash_attn]
    )
    params.n_batch = flags.batch_size
    params.n_ubatch = flags.ubatch_size
    params.fit_params = flags.fit == "on"
    params.cache_ram_mib = flags.cache_ram
    params.verbosity = flags.verbosity
    params.sse_ping_interval = flags.sse_ping_interval
    params.endpoint_metrics = flags.metrics
    params.embedding = flags.embedding
    params.warmup = flags.warmup
    params.ui = flags.ui
    if flags.threads > 0:
        params.cpuparams.n_threads = flags.threads
        params.cpuparams_batch.n_threads = flags.threads
    server = xllamacpp.Server(params)
    print(f"server is listening on {server.listening_address}", flush=True)  # noqa: T201
    while True:
        signal.pause()


def _cache_type(xllamacpp: Any, name: str) -> Any:
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


if __name__ == "__main__":
    serve()
