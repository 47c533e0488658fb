"""Why runs end: lines that real servers wrote, and what is made of them."""

import re
from pathlib import Path

import pytest

from proxyserver.runtime import FailurePattern, classify
from proxyserver.runtime._exits import GENERAL

SEEN = [
    ("gpu_oom", "allocating 9216.00 MiB on device 0: cudaMalloc failed: out of memory"),
    ("gpu_oom", "CUDA error: out of memory"),
    ("gpu_oom", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    ("gpu_oom", "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory"),
    ("alloc", "ggml_gallocr_reserve_n_impl: failed to allocate CPU buffer of size 9663676416"),
    (
        "vllm_precheck",
        (
            "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less "
            "than desired GPU memory utilization (0.92, 21.7 GiB)."
        ),
    ),
    ("vllm_no_kv", "ValueError: No available memory for the cache blocks."),
    ("vllm_kv_small", "the estimated maximum model length is 4096"),
    ("engine_dead", "RuntimeError: Engine core initialization failed. See root cause above."),
    ("port_in_use", "couldn't bind HTTP server socket, hostname: 0.0.0.0, port: 8080"),
    ("port_in_use", "OSError: [Errno 98] Address already in use"),
    ("port_in_use", "Bind for 127.0.0.1:9000 failed: port is already allocated"),
    ("model_missing", "failed to open GGUF file '/m/x.gguf' (No such file or directory)"),
    ("model_missing", "huggingface_hub.errors.HFValidationError: Repo id must be"),
    ("model_corrupt", "gguf_init_from_file_impl: invalid magic characters: 'garb'"),
    ("model_corrupt", "data is not within the file bounds, model is corrupted or incomplete"),
    ("unsupported", "error loading model architecture: unknown model architecture: 'qwen9'"),
    ("bad_flag", "error: invalid argument: --no-such-flag"),
    ("hf_auth", "Cannot access gated repo for url https://example.org"),
    ("hf_auth", "Access to model meta-llama/Llama-3.1-8B is restricted. You must have access"),
    ("hf_auth", "OSError: You are trying to access a gated repo."),
    ("hf_auth", "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url"),
    ("hf_auth", "Error: request error: HTTP status client error (401 Unauthorized) for url"),
    ("bad_flag", "llama-server: error: argument -c/--ctx-size: invalid int value: 'many'"),
    ("model_corrupt", "gguf_init_from_reader: failed to read key-value pairs"),
    (
        "alloc",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 184320",
    ),
    ("oci_runtime", "Unknown runtime specified runsc"),
    ("gpu_runtime", "unknown or invalid runtime name: nvidia"),
    ("disk_full", "OSError: [Errno 28] No space left on device: '/root/.cache/huggingface'"),
    ("gpu_runtime", 'could not select device driver "nvidia" with capabilities: [[gpu]]'),
    ("driver", "CUDA driver version is insufficient for CUDA runtime version"),
    ("bad_entrypoint", "[FATAL tini (7)] exec /no-such failed: No such file or directory"),
    ("mount_missing", "invalid mount config: bind source path does not exist: /no-such"),
]


@pytest.mark.parametrize(("kind", "line"), SEEN, ids=lambda value: value[:30])
def test_known_line(kind: str, line: str) -> None:
    """A line that a server wrote before it died gives the kind and is quoted."""
    cause = classify(1, False, ["loading", line, "exiting"])
    assert cause.kind == kind
    assert line in cause.message


def test_causes_that_cannot_heal() -> None:
    """A full GPU may have room later; a missing model comes by nobody's waiting."""
    heals = {classify(1, False, [line]).kind: classify(1, False, [line]).heals for _, line in SEEN}
    assert {kind for kind, does in heals.items() if does} == {
        "gpu_oom",
        "alloc",
        "vllm_precheck",
        "engine_dead",
        "port_in_use",
        "disk_full",
    }


def test_the_reason_wins_over_the_last_cry() -> None:
    """VLLM's parent reports a dead engine last; the reason stands before it."""
    tail = [
        "torch.OutOfMemoryError: CUDA out of memory. Tried",
        "Engine core initialization failed",
    ]
    assert classify(1, False, tail).kind == "gpu_oom"


def test_llama_tries_again() -> None:
    """llama.cpp complains of a buffer that does not fit, then goes on without it."""
    complaint = "cudaMalloc failed: out of memory"
    again = "llama_context: retrying without pipeline parallelism"
    assert classify(1, False, [complaint, again, "bye"]).kind == "exit"
    assert classify(1, False, [complaint, again, complaint]).kind == "gpu_oom"


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "by itself with exit code 0"),
        (3, "exit code 3"),
        (137, "SIGKILL, exit code 137"),
        (-11, "SIGSEGV, exit code -11"),
        (139, "SIGSEGV, exit code 139"),
        (255, "exit code 255"),
        (None, "unknown exit code"),
    ],
)
def test_ending_in_words(exit_code: int | None, words: str) -> None:
    """Without a known line the exit code and the last words are told; it may heal."""
    cause = classify(exit_code, False, ["one", "two", "three", "four"])
    assert (cause.kind, cause.heals) == ("exit", True)
    assert words in cause.message
    assert "two | three | four" in cause.message


def test_out_of_ram_only_when_the_engine_says_so() -> None:
    """137 alone is any SIGKILL, from whoever."""
    assert classify(137, False, []).kind == "exit"
    assert classify(137, True, []).kind == "ram_oom"


def test_own_patterns_come_first() -> None:
    """A template knows its server better than the general list."""
    own = FailurePattern("own", "out of memory", heals=False)
    assert classify(1, False, ["CUDA error: out of memory"], [own]).kind == "own"


def test_every_kind_is_documented() -> None:
    """The page tells of every pattern, in the order in which they are tried."""
    page = (Path(__file__).parents[2] / "docs/reference/failures.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| ", page, re.MULTILINE)
    general = [(failure.kind, "yes" if failure.heals else "no") for failure in GENERAL]
    assert rows[: len(general)] == general
