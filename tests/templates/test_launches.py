"""From what users write to the command line of each kind of server."""

from pathlib import Path

import attrs
import pytest

from proxyserver.runtime._protocol import ContainerSpec, ProcessSpec
from tests.settings.writing import Folder


@attrs.frozen
class Case:
    """A service as it is written, and what becomes of it."""

    type: str
    options: str
    image: str
    inside: str
    """The command of the container."""
    outside: str
    """That of the process, its program without the folder."""
    environment: str = ""
    mounts: str = ""


NO_CUDA = ("cpu", "rocm", "vulkan")
CASES = [
    Case(
        "infinity",
        "model: BAAI/bge-small-en-v1.5",
        "michaelf34/infinity:latest",
        "v2 --model-id BAAI/bge-small-en-v1.5 --host 0.0.0.0 --port 7997 --url-prefix /v1"
        " --no-trust-remote-code",
        "infinity_emb v2 --model-id BAAI/bge-small-en-v1.5 --host 127.0.0.1 --port ${PORT}"
        " --url-prefix /v1 --no-trust-remote-code",
        "DO_NOT_TRACK=1",
        "huggingface:/app/.cache/huggingface",
    ),
    Case(
        "infinity",
        "model: [BAAI/bge-small-en-v1.5, ./mine], variant: cpu, engine: optimum, dtype: int8,"
        " embedding_dtype: float32, batch_size: 8, revision: abc, trust_remote_code: true,"
        " model_warmup: false, hf_token: secret, args: --no-compile",
        "michaelf34/infinity:latest-cpu",
        "v2 --model-id BAAI/bge-small-en-v1.5 --model-id /models/mine"
        " --served-model-name BAAI/bge-small-en-v1.5 --served-model-name mine"
        " --host 0.0.0.0 --port 7997 --url-prefix /v1 --engine optimum --dtype int8"
        " --embedding-dtype float32 --batch-size 8 --revision abc --trust-remote-code"
        " --no-model-warmup --no-compile",
        "infinity_emb v2 --model-id BAAI/bge-small-en-v1.5 --model-id {here}/mine"
        " --served-model-name BAAI/bge-small-en-v1.5 --served-model-name mine"
        " --host 127.0.0.1 --port ${PORT} --url-prefix /v1 --engine optimum --dtype int8"
        " --embedding-dtype float32 --batch-size 8 --revision abc --trust-remote-code"
        " --no-model-warmup --no-compile",
        "DO_NOT_TRACK=1 HF_TOKEN=secret",
        "huggingface:/app/.cache/huggingface {here}/mine:/models/mine:ro",
    ),
    Case(
        "tabby",
        "model: ./mine",
        "ghcr.io/theroyallab/tabbyapi:latest",
        "main.py --host 0.0.0.0 --port 5000 --disable-auth true --model-dir /app/models"
        " --model-name mine",
        "python3 main.py --host 127.0.0.1 --port ${PORT} --disable-auth true --model-dir {here}"
        " --model-name mine",
        "",
        "{here}/mine:/app/models/mine:ro",
    ),
    Case(
        "tabby",
        "model: ./mine, max_seq_len: 8192, cache_size: 16384, cache_mode: '8,6', chunk_size: 512,"
        " max_batch_size: 4, gpu_split: [20, 11.5], tensor_parallel: true, vision: true,"
        " prompt_template: chatml, draft_model: ./small, args: [--log-prompt, 'true'],"
        " variant: cuda13, folder: .",
        "ghcr.io/theroyallab/tabbyapi:cu13",
        "main.py --host 0.0.0.0 --port 5000 --disable-auth true --model-dir /app/models"
        " --model-name mine --max-seq-len 8192 --cache-size 16384 --cache-mode 8,6"
        " --chunk-size 512 --max-batch-size 4 --prompt-template chatml --tensor-parallel true"
        " --vision true --gpu-split-auto false --gpu-split 20 11.5"
        " --draft-model-dir /app/draft_models --draft-model-name small --log-prompt true",
        "python3 main.py --host 127.0.0.1 --port ${PORT} --disable-auth true --model-dir {here}"
        " --model-name mine --max-seq-len 8192 --cache-size 16384 --cache-mode 8,6"
        " --chunk-size 512 --max-batch-size 4 --prompt-template chatml --tensor-parallel true"
        " --vision true --gpu-split-auto false --gpu-split 20 11.5"
        " --draft-model-dir {here} --draft-model-name small --log-prompt true",
        "",
        "{here}/mine:/app/models/mine:ro {here}/small:/app/draft_models/small:ro",
    ),
    Case(
        "tabby",
        "models_dir: ., max_seq_len: 2048",
        "ghcr.io/theroyallab/tabbyapi:latest",
        "main.py --host 0.0.0.0 --port 5000 --disable-auth true --model-dir /app/models"
        " --max-seq-len 2048",
        "python3 main.py --host 127.0.0.1 --port ${PORT} --disable-auth true --model-dir {here}"
        " --max-seq-len 2048",
        "",
        "{here}:/app/models:ro",
    ),
    Case(
        "vllm",
        "model: Qwen/Qwen3-8B, aliases: [gpt, Qwen/Qwen3-8B]",
        "vllm/vllm-openai:latest",
        "Qwen/Qwen3-8B --host 0.0.0.0 --port 8000 --served-model-name a gpt Qwen/Qwen3-8B"
        " --gpu-memory-utilization 0.9 --tensor-parallel-size 1",
        "vllm serve Qwen/Qwen3-8B --host 127.0.0.1 --port ${PORT} --served-model-name a gpt"
        " Qwen/Qwen3-8B --gpu-memory-utilization 0.9 --tensor-parallel-size 1",
        "DO_NOT_TRACK=1",
        "huggingface:/root/.cache/huggingface vllm:/root/.cache/vllm",
    ),
    Case(
        "vllm",
        "model: ./mine, max_model_len: 4096, gpu_memory_utilization: 0.45, dtype: float16,"
        " quantization: awq, kv_cache_dtype: fp8, tensor_parallel_size: 2, max_num_seqs: 16,"
        " max_num_batched_tokens: 2048, cpu_offload: 1536MiB, enforce_eager: true,"
        " sleep_mode: true, asleep: {ram: 8GiB}, prefix_caching: false,"
        " trust_remote_code: true, runner: generate,"
        " tool_call_parser: hermes, reasoning_parser: qwen3, chat_template: t.jinja,"
        " hf_token: secret, api_key: key, args: --seed 1, variant: rocm",
        "vllm/vllm-openai-rocm:latest",
        "/models/mine --host 0.0.0.0 --port 8000 --served-model-name a"
        " --gpu-memory-utilization 0.45 --max-model-len 4096 --dtype float16 --quantization awq"
        " --kv-cache-dtype fp8 --max-num-seqs 16 --max-num-batched-tokens 2048 --enforce-eager"
        " --trust-remote-code --runner generate --tool-call-parser hermes"
        " --reasoning-parser qwen3 --tensor-parallel-size 2 --cpu-offload-gb 1.5"
        " --enable-sleep-mode --enable-auto-tool-choice --chat-template /models/chat_template.jinja"
        " --no-enable-prefix-caching --seed 1",
        "vllm serve {here}/mine --host 127.0.0.1 --port ${PORT} --served-model-name a"
        " --gpu-memory-utilization 0.45 --max-model-len 4096 --dtype float16 --quantization awq"
        " --kv-cache-dtype fp8 --max-num-seqs 16 --max-num-batched-tokens 2048 --enforce-eager"
        " --trust-remote-code --runner generate --tool-call-parser hermes"
        " --reasoning-parser qwen3 --tensor-parallel-size 2 --cpu-offload-gb 1.5"
        " --enable-sleep-mode --enable-auto-tool-choice --chat-template {here}/t.jinja"
        " --no-enable-prefix-caching --seed 1",
        "DO_NOT_TRACK=1 HF_TOKEN=secret VLLM_API_KEY=key VLLM_SERVER_DEV_MODE=1",
        "huggingface:/root/.cache/huggingface vllm:/root/.cache/vllm"
        " {here}/mine:/models/mine:ro {here}/t.jinja:/models/chat_template.jinja:ro",
    ),
    Case(
        "vllm",
        "model: Qwen/Qwen3-8B, variant: cpu, kv_cache_memory: 4GiB, prefix_caching: true",
        "vllm/vllm-openai-cpu:latest-x86_64",
        "Qwen/Qwen3-8B --host 0.0.0.0 --port 8000 --served-model-name a --enable-prefix-caching",
        "vllm serve Qwen/Qwen3-8B --host 127.0.0.1 --port ${PORT} --served-model-name a"
        " --enable-prefix-caching",
        "DO_NOT_TRACK=1 VLLM_CPU_KVCACHE_SPACE=4",
        "huggingface:/root/.cache/huggingface vllm:/root/.cache/vllm",
    ),
    Case(
        "tei",
        "model: BAAI/bge-small-en-v1.5, variant: cpu, dtype: float32, pooling: cls, revision: abc,"
        " max_concurrent_requests: 8, max_batch_tokens: 4096, max_client_batch_size: 16,"
        " auto_truncate: true, hf_token: secret",
        "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9",
        "--model-id BAAI/bge-small-en-v1.5 --hostname 0.0.0.0 --port 80 --revision abc"
        " --dtype float32 --pooling cls --max-concurrent-requests 8 --max-batch-tokens 4096"
        " --max-client-batch-size 16 --auto-truncate",
        "text-embeddings-router --model-id BAAI/bge-small-en-v1.5 --hostname 127.0.0.1"
        " --port ${PORT} --revision abc --dtype float32 --pooling cls --max-concurrent-requests 8"
        " --max-batch-tokens 4096 --max-client-batch-size 16 --auto-truncate",
        "HF_TOKEN=secret",
        "tei:/data",
    ),
    Case(
        "sglang",
        "model: ./mine, context_length: 4096, tp_size: 2, is_embedding: true, args: [--x]",
        "lmsysorg/sglang:latest",
        "python3 -m sglang.launch_server --model-path /models/mine --host 0.0.0.0 --port 30000"
        " --served-model-name a --mem-fraction-static 0.85 --context-length 4096 --tp-size 2"
        " --is-embedding --x",
        "python3 -m sglang.launch_server --model-path {here}/mine --host 127.0.0.1 --port ${PORT}"
        " --served-model-name a --mem-fraction-static 0.85 --context-length 4096 --tp-size 2"
        " --is-embedding --x",
        "",
        "huggingface:/root/.cache/huggingface {here}/mine:/models/mine:ro",
    ),
    Case(
        "ollama",
        "context_length: 8192, parallel: 2, flash_attention: true, kv_cache_type: q8_0,"
        " variant: rocm",
        "ollama/ollama:rocm",
        "serve",
        "ollama serve",
        "OLLAMA_CONTEXT_LENGTH=8192 OLLAMA_FLASH_ATTENTION=1 OLLAMA_HOST=0.0.0.0:11434"
        " OLLAMA_KEEP_ALIVE=-1 OLLAMA_KV_CACHE_TYPE=q8_0 OLLAMA_MAX_LOADED_MODELS=1"
        " OLLAMA_NUM_PARALLEL=2",
        "ollama:/root/.ollama",
    ),
    Case(
        "lmdeploy",
        "model: x/y, backend: pytorch, session_len: 8192, cache_max_entry_count: 0.5,"
        " quant_policy: 8, tp: 2, max_batch_size: 4",
        "openmmlab/lmdeploy:latest",
        "lmdeploy serve api_server x/y --server-name 0.0.0.0 --server-port 23333 --model-name a"
        " --backend pytorch --session-len 8192 --cache-max-entry-count 0.5 --quant-policy 8 --tp 2"
        " --max-batch-size 4",
        "lmdeploy serve api_server x/y --server-name 127.0.0.1 --server-port ${PORT}"
        " --model-name a --backend pytorch --session-len 8192 --cache-max-entry-count 0.5"
        " --quant-policy 8 --tp 2 --max-batch-size 4",
        "",
        "huggingface:/root/.cache/huggingface",
    ),
    Case(
        "koboldcpp",
        "model: model.gguf, contextsize: 4096, gpulayers: 99, threads: 4, flashattention: true,"
        " {image}",
        "some/image:1",
        "--model /models/model.gguf --host 0.0.0.0 --port 5001 --quiet --skiplauncher"
        " --contextsize 4096 --gpulayers 99 --threads 4 --flashattention",
        "koboldcpp --model {here}/model.gguf --host 127.0.0.1 --port ${PORT} --quiet"
        " --skiplauncher --contextsize 4096 --gpulayers 99 --threads 4 --flashattention",
        "",
        "{here}/model.gguf:/models/model.gguf:ro",
    ),
    Case(
        "whispercpp",
        "model: model.gguf, language: en, threads: 2, convert: true, variant: cpu",
        "ghcr.io/ggml-org/whisper.cpp:main",
        "whisper-server --model /models/model.gguf --host 0.0.0.0 --port 8080 --inference-path"
        " /v1/audio/transcriptions --language en --threads 2 --convert",
        "whisper-server --model {here}/model.gguf --host 127.0.0.1 --port ${PORT}"
        " --inference-path /v1/audio/transcriptions --language en --threads 2 --convert",
        "",
        "{here}/model.gguf:/models/model.gguf:ro",
    ),
    Case(
        "speaches",
        "preload: [Systran/faster-whisper-base], variant: cpu",
        "ghcr.io/speaches-ai/speaches:latest-cpu",
        "",
        "uvicorn --factory speaches.main:create_app --host 127.0.0.1 --port ${PORT}",
        'PRELOAD_MODELS=["Systran/faster-whisper-base"] STT_MODEL_TTL=-1 TTS_MODEL_TTL=-1',
        "speaches:/home/ubuntu/.cache/huggingface/hub",
    ),
    Case(
        "sdcpp",
        "model: model.gguf, threads: 2, offload_to_cpu: true, diffusion_fa: true",
        "ghcr.io/leejet/stable-diffusion.cpp:master",
        "--model /models/model.gguf --listen-ip 0.0.0.0 --listen-port 1234 --threads 2"
        " --offload-to-cpu --diffusion-fa",
        "sd-server --model {here}/model.gguf --listen-ip 127.0.0.1 --listen-port ${PORT}"
        " --threads 2 --offload-to-cpu --diffusion-fa",
        "",
        "{here}/model.gguf:/models/model.gguf:ro",
    ),
    Case(
        "comfyui",
        "vram: low, cpu: true, folder: ., {image}",
        "some/image:1",
        "",
        "python3 main.py --listen 127.0.0.1 --port ${PORT} --cpu --lowvram",
    ),
    Case(
        "kokoro",
        "folder: .",
        "ghcr.io/remsky/kokoro-fastapi-gpu:latest",
        "",
        "uvicorn api.src.main:app --host 127.0.0.1 --port ${PORT}",
    ),
    Case(
        "docling",
        "enable_ui: true",
        "quay.io/docling-project/docling-serve:latest",
        "docling-serve run --host 0.0.0.0 --port 5001 --enable-ui",
        "docling-serve run --host 127.0.0.1 --port ${PORT} --enable-ui",
    ),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with models, and a bin with all programs."""
    for name in ("mine", "small"):
        (tmp_path / name).mkdir()
    for name in ("t.jinja", "model.gguf"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    for case in CASES:
        program = tmp_path / "bin" / case.outside.split()[0]
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return Folder(tmp_path)


def launched(folder: Folder, case: Case, runtime: str) -> object:
    environ = {"HOME": "/home/tester", "PATH": str(folder.path / "bin")}
    image = "container: {image: 'some/image:1'}" if runtime == "docker" else "x-image: none"
    written = f"type: {case.type}, runtime: {runtime}, {case.options.replace('{image}', image)}"
    (service,) = folder.load(f"services: {{a: {{{written}}}}}", environ).services.values()
    what = service.launch.what
    assert isinstance(what, ContainerSpec | ProcessSpec)
    return what


def ids(case: Case) -> str:
    return f"{case.type}-{CASES.index(case)}"


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_container(folder: Folder, case: Case) -> None:
    """Each option becomes the argument that the server has for it, and nothing else."""
    what = launched(folder, case, "docker")
    assert isinstance(what, ContainerSpec)
    here = str(folder.path)
    mounts = [
        f"{one.source}:{one.target}{':ro' if one.read_only else ''}".replace(here, "{here}")
        for one in what.mounts
    ]
    assert (
        Case(
            case.type,
            case.options,
            what.image,
            " ".join(what.command or ()),
            case.outside,
            " ".join("=".join(pair) for pair in what.environment),
            " ".join(mounts),
        )
        == case
    )


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_process(folder: Folder, case: Case) -> None:
    """The same without a container: on loopback, with the files where they are."""
    what = launched(folder, case, "process")
    assert isinstance(what, ProcessSpec)
    here = str(folder.path)
    command = " ".join(what.command).replace(f"{here}/bin/", "").replace(here, "{here}")
    assert command == case.outside
    environment = case.environment.replace("0.0.0.0:11434", "127.0.0.1:${PORT}")
    assert " ".join("=".join(pair) for pair in what.environment) == environment


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_gpus(folder: Folder, case: Case) -> None:
    """NVIDIA's are asked for, AMD's are devices, and without one there is neither."""
    what = launched(folder, case, "docker")
    assert isinstance(what, ContainerSpec)
    variant = next((name for name in NO_CUDA if f"variant: {name}" in case.options), "cuda")
    variant = "cpu" if case.type == "sdcpp" else variant
    devices = {"rocm": ("/dev/kfd", "/dev/dri"), "vulkan": ("/dev/dri",)}
    assert (what.gpus, what.devices) == (variant == "cuda", devices.get(variant, ()))
    assert what.healthcheck is False
