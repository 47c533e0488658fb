"""Each kind of server is understood when it fails: lines as they write them."""

import pytest

from proxyserver.runtime._exits import explain
from proxyserver.runtime._protocol import FailurePattern
from proxyserver.templates import TEMPLATES
from proxyserver.templates.infinity import FAILURES as INFINITY
from proxyserver.templates.tabby import FAILURES as TABBY
from proxyserver.templates.vllm import FAILURES as VLLM
from tests.templates.known import failures_of

LINES = [
    # infinity 0.0.78 itself, run without torch and with a flag that it does not know.
    (INFINITY, "ImportError: torch.nn is not available. install via `pip install ",
     "engine_missing"),
    (INFINITY, "│ No such option: --bogus Did you mean --host?", "bad_flag"),
    (INFINITY, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
     "gpu_oom"),
    (INFINITY, "OSError: x/y is not a local folder and is not a valid model identifier",
     "model_missing"),
    # The same, on a folder without a model and on half a model.
    (INFINITY, "FileNotFoundError: [Errno 2] No such file or directory: '/models/x/config.json'",
     "model_missing"),
    (INFINITY, "safetensors._safetensors_rust.SafetensorError: Error while deserializing header",
     "model_corrupt"),
    # By tabbyAPI's source of August 2026, and exllamav3's.
    (TABBY, "ValueError: Failed to load config.json from /app/models/x", "model_missing"),
    (TABBY, "Port 5000 is currently in use. Switching to 5001.", "port_in_use"),
    (TABBY, "Ports 5000 and 5001 are in use by different services.", "port_in_use"),
    (TABBY, "ValueError: Models quantized with 'exl2' require the exllamav2 backend",
     "unsupported"),
    (TABBY, "RuntimeError: Insufficient VRAM in split for model and cache",
     "gpu_oom"),
    (TABBY, "ERROR: Inference dependencies for TabbyAPI are not installed.",
     "bad_install"),
    # vLLM 0.32 itself, on CPU.
    (VLLM, ("  Value error, User-specified max_model_len (100000) is greater than the derived"
            " max_model_len (max_position_embeddings=2048.0)"), "vllm_max_len"),
    (VLLM, "  Value error, Invalid repository ID or local directory specified: '/models/x'.",
     "model_missing"),
    (VLLM, "  Value error, Model architectures ['X'] are not supported for now.", "unsupported"),
    (VLLM, "  Value error, Sleep mode is not supported on current platform.", "bad_config"),
    (VLLM, "vllm serve: error: argument --max-model-len: invalid value: 'banana'", "bad_flag"),
    (VLLM, "safetensors._safetensors_rust.SafetensorError: Error while deserializing header",
     "model_corrupt"),
    (VLLM, ("ValueError: Available memory on node 0 (17.2/23.5 GiB) on startup is less than"
            " desired CPU memory utilization (0.92, 21.6 GiB)."), "vllm_ram"),
    # By the project's notes on vLLM 0.33.
    (VLLM, ("ValueError: Free memory on device cuda:0 (3.2/23.6 GiB) on startup is less than"
            " desired GPU memory utilization (0.9, 21.3 GiB)."), "vllm_precheck"),
    (VLLM, "ValueError: No available memory for the cache blocks.", "vllm_no_kv"),
    (VLLM, "the estimated maximum model length is 4096.", "vllm_kv_small"),
    (VLLM, "OSError: You are trying to access a gated repo.", "hf_auth"),
    (VLLM, "ValueError: Model architectures ['X'] are not supported for now.",
     "unsupported"),
    (VLLM, "vllm: error: unrecognized arguments: --bogus", "bad_flag"),
    (VLLM, "RuntimeError: Engine core initialization failed. See root cause above.",
     "engine_dead"),
]  # fmt: skip


@pytest.mark.parametrize(("patterns", "line", "kind"), LINES, ids=lambda value: str(value)[:40])
def test_lines_are_understood(patterns: tuple[FailurePattern, ...], line: str, kind: str) -> None:
    """A line of the log is told apart, with what would help."""
    cause = explain([line], patterns)
    assert cause is not None
    assert cause.kind == kind
    assert len(cause.message) > len(line)


def test_the_reason_wins_over_the_loudest_line() -> None:
    """The last line of vLLM says nothing, and the reason stands above it."""
    log = [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.00 GiB.",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    cause = explain(log, VLLM)
    assert cause is not None
    assert (cause.kind, cause.out_of_memory) == ("gpu_oom", True)
    assert "gpu_memory_utilization" in cause.message


@pytest.mark.parametrize("name", TEMPLATES)
def test_advice_is_given(name: str) -> None:
    """No pattern without what would help."""
    assert [one for one in failures_of(name) if not one.advice] == []
