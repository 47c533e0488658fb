"""Templates before fakes of their servers: from three lines to an answer, and to a reason."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, wait_until

NewDaemon = Callable[..., Daemon]
ROOT = Path(__file__).parents[2]
RUN = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.rig.backends'


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Make the program of a fake, called as the real one is."""

    def make(name: str) -> str:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{RUN}.{name} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def service(type: str, binary: str, **options: Any) -> dict[str, Any]:
    return {"type": type, "runtime": "process", "binary": binary, **options}


def test_infinity(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """It is waited for while it refuses connections, and any name of ours will do."""
    binary = program("infinity")
    options = {"model": "BAAI/bge-small-en-v1.5", "aliases": ["text-embedding-3-small"]}
    slow = {"process": {"environment": {"FAKE_LOAD_S": "0.5"}}}
    daemon = new_daemon({"bge": service("infinity", binary, **options, **slow)})
    body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
    answer = daemon.request("POST", "/v1/embeddings", json=body)
    assert [len(one["embedding"]) for one in answer.json()["data"]] == [4, 4]
    assert daemon.state("bge") == "ready"


def test_several_models_of_one_infinity(
    new_daemon: NewDaemon, program: Callable[[str], str]
) -> None:
    """Their names at the hub are names of the service, and each answers for itself."""
    names = ["BAAI/bge-small-en-v1.5", "mixedbread-ai/mxbai-rerank-xsmall-v1"]
    written = service("infinity", program("infinity"), model=names)
    daemon = new_daemon({"both": written})
    for name in names:
        answer = daemon.request("POST", "/v1/embeddings", json={"model": name, "input": "x"})
        assert (answer.status_code, answer.json()["model"]) == (200, name)


@pytest.fixture
def tabby_model(tmp_path: Path) -> Path:
    """A folder like that of a model."""
    folder = tmp_path / "models/mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def tabby(binary: str, checkout: Path, model: Path, **options: Any) -> dict[str, Any]:
    """Return a tabbyAPI from a checkout, whose main.py the interpreter `binary` is given."""
    (checkout / "main.py").write_text("")
    return service("tabby", binary, model=str(model), folder=str(checkout), **options)


@pytest.fixture
def interpreter(tmp_path: Path) -> str:
    """A `python3` that runs the fake when it is told to run main.py."""
    path = tmp_path / "python3"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = main.py ] && [ -e main.py ] || exit 9\nshift\n{RUN}.tabby "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def test_tabby(new_daemon: NewDaemon, tmp_path: Path, interpreter: str, tabby_model: Path) -> None:
    """It is ready when its model is loaded, and serves by any name."""
    written = tabby(interpreter, tmp_path, tabby_model, max_seq_len=4096, cache_mode="Q8")
    daemon = new_daemon({"chat": written})
    assert daemon.chat("chat").json()["model"] == "mine"


def test_tabby_without_a_model_is_not_ready(
    new_daemon: NewDaemon, tmp_path: Path, interpreter: str, tabby_model: Path
) -> None:
    """Live is not ready: /health says yes, /v1/model says 503, and that one counts."""
    written = tabby(interpreter, tmp_path, tabby_model, wait_s=60)
    # As if nobody had told it a model; the first is loaded by hand.
    bare = (
        f"{interpreter} main.py --host 127.0.0.1 --port ${{PORT}} --model-dir {tabby_model.parent}"
    )
    written["process"] = {"command": bare, "working_dir": str(tmp_path)}
    daemon = new_daemon({"chat": written})
    daemon.request("POST", "/api/v1/service/chat/start?wait=false")

    def log() -> str:
        return daemon.get("/api/v1/service/chat/logs").text

    wait_until("a probe", lambda: "GET /v1/model HTTP" in log())
    [url] = re.findall(r"running on (\S+)", log())
    assert httpx.get(f"{url}/health").status_code == 200
    failed = httpx.post(f"{url}/v1/model/load", json={"model_name": "."})
    assert failed.status_code == 200
    assert 'data: {"error"' in failed.text
    assert daemon.state("chat") == "starting"
    httpx.post(f"{url}/v1/model/load", json={"model_name": "mine"})
    wait_until("the model", lambda: daemon.state("chat") == "ready")


def test_tabby_tells_what_is_no_model(
    new_daemon: NewDaemon, tmp_path: Path, interpreter: str
) -> None:
    """A folder that is none of a model is told in words."""
    (tmp_path / "empty").mkdir()
    daemon = new_daemon({"chat": tabby(interpreter, tmp_path, tmp_path / "empty")})
    answer = daemon.chat("chat")
    assert answer.status_code == 503
    assert "must be the folder of an EXL3 model" in answer.json()["error"]["message"]


def test_vllm(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """It answers to the id and to every alias of the service, though it refuses other names."""
    written = service(
        "vllm", program("vllm"), model="Qwen/Qwen3-8B", aliases=["gpt", "Qwen/Qwen3-8B"]
    )
    written["process"] = {"environment": {"FAKE_LOAD_S": "0.5"}}
    daemon = new_daemon({"qwen": written})
    for name in ("qwen", "gpt", "Qwen/Qwen3-8B"):
        assert daemon.chat(name).json()["model"] == "qwen"


def test_vllm_that_dies_quietly_has_failed(
    new_daemon: NewDaemon, program: Callable[[str], str]
) -> None:
    """An end with exit code 0 that nobody asked for is a failure, told as one."""
    written = service("vllm", program("vllm"), model="Qwen/Qwen3-8B")
    written["process"] = {"environment": {"FAKE_DIES": "1"}}
    daemon = new_daemon({"qwen": written})
    assert daemon.chat("qwen").status_code == 200
    wait_until("the end", lambda: daemon.state("qwen") in ("down", "backoff", "failed"))
    assert "ended by itself with exit code 0" in daemon.log


def test_vllm_that_does_not_fit_says_what_helps(
    new_daemon: NewDaemon, program: Callable[[str], str]
) -> None:
    """The reason is found above the loudest line, and names an option of ours."""
    daemon = new_daemon({"big": service("vllm", program("vllm"), model="fake/too-large")})
    answer = daemon.chat("big")
    assert answer.status_code == 503
    assert "lower `gpu_memory_utilization`" in answer.json()["error"]["message"]


def test_vllm_sleeps_and_wakes(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """A sleeper would let a request hang, so it is woken before."""
    options = {"sleep_mode": True, "asleep": {"ram": "100MiB"}, "memory": {"ram": "500MiB"}}
    daemon = new_daemon({"qwen": service("vllm", program("vllm"), model="x/y", **options)})
    assert daemon.chat("qwen").status_code == 200
    assert daemon.request("POST", "/api/v1/service/qwen/sleep").status_code == 200
    assert daemon.state("qwen") == "asleep"
    assert daemon.chat("qwen").json()["model"] == "qwen"
    assert daemon.service("qwen")["run"] == 1


def test_vllm_wakes_from_a_deep_sleep(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """It reads its weights anew before it answers, else it would answer nonsense."""
    options = {"sleep_mode": True, "sleep_level": 2, "memory": {"ram": "5GiB"}}
    written = service("vllm", program("vllm"), model="x/y", **options, asleep={"ram": "100MiB"})
    daemon = new_daemon({"qwen": written}, ram={"memory": "8GiB", "headroom": "1MiB"})
    assert daemon.chat("qwen").json()["model"] == "qwen"
    assert daemon.request("POST", "/api/v1/service/qwen/sleep").status_code == 200
    assert daemon.chat("qwen").json()["model"] == "qwen"
    assert daemon.service("qwen")["run"] == 1


def test_vllm_says_what_it_holds_asleep(
    new_daemon: NewDaemon, program: Callable[[str], str]
) -> None:
    """Its log knows better than the configuration, and the next life of the daemon remembers."""
    written = service("vllm", program("vllm"), model="x/y", sleep_mode=True)
    written |= {"memory": {"vram": "16GiB"}, "asleep": {"vram": "9GiB"}}
    written["process"] = {"environment": {"FAKE_FREED": "15.00", "FAKE_USED": "1.50"}}
    daemon = new_daemon({"qwen": written}, devices={"gpu0": "24GiB"})
    for _ in range(2):
        assert daemon.chat("qwen").status_code == 200
        assert daemon.service("qwen")["placement"] == {"gpu0": 16 << 30}
        assert daemon.request("POST", "/api/v1/service/qwen/sleep").status_code == 200
        assert daemon.service("qwen")["placement"] == {"gpu0": 1 << 30}
        daemon.stop()
        daemon.start()


@pytest.mark.parametrize("type", ["sglang", "lmdeploy"])
def test_others_sleep_and_wake(
    new_daemon: NewDaemon, program: Callable[[str], str], type: str
) -> None:
    """Each by its own calls, with its model as it was, and nothing asked that would cost it."""
    options = {"sleep_mode": True, "asleep": {"ram": "100MiB"}, "memory": {"ram": "500MiB"}}
    daemon = new_daemon({"chat": service(type, program(type), model="x/y", **options)})
    assert daemon.chat("chat").json()["model"] == "chat"
    assert daemon.request("POST", "/api/v1/service/chat/sleep").status_code == 200
    assert daemon.state("chat") == "asleep"
    assert daemon.chat("chat").json()["model"] == "chat"
    assert daemon.service("chat")["run"] == 1
    assert "generate a token" not in daemon.get("/api/v1/service/chat/logs").text


def test_tabby_switches_models(
    new_daemon: NewDaemon, tmp_path: Path, interpreter: str, tabby_model: Path
) -> None:
    """One at a time, each answer from the model that was asked for, failures told as such."""
    for name in ("other", "broken"):
        (tabby_model.parent / name).mkdir()
    (tabby_model.parent / "other/config.json").write_text("{}")
    (tmp_path / "main.py").write_text("")
    written = service(
        "tabby",
        interpreter,
        models_dir=str(tabby_model.parent),
        folder=str(tmp_path),
        cache_mode="Q8",
        models=[{"name": "mine", "aliases": ["gpt"]}, {"name": "other"}, {"name": "broken"}],
    )
    daemon = new_daemon({"tabby": written})
    for asked, model in (("gpt", "mine"), ("other", "other"), ("mine", "mine")):
        assert daemon.chat(asked).json()["model"] == model
    assert (daemon.state("tabby/mine"), daemon.state("tabby/other")) == ("ready", "down")
    answer = daemon.chat("broken")
    assert answer.status_code == 503
    assert "Failed to load config.json" in answer.json()["error"]["message"]
    assert daemon.chat("mine").status_code == 200
    log = daemon.get("/api/v1/service/tabby/logs").text
    assert 'asked to load {"model_name": "mine", "cache_mode": "Q8"}' in log


def test_tabby_tells_how_far_a_load_is(
    new_daemon: NewDaemon, tmp_path: Path, interpreter: str, tabby_model: Path
) -> None:
    """By the stream that answers the load; what is not there is told at once."""
    (tmp_path / "main.py").write_text("")
    written = service(
        "tabby",
        interpreter,
        models_dir=str(tabby_model.parent),
        folder=str(tmp_path),
        models=[{"name": "mine"}, {"name": "gone"}],
    )
    written["process"] = {"environment": {"FAKE_HOLD": str(tmp_path / "go")}}
    daemon = new_daemon({"tabby": written})
    assert daemon.request("POST", "/api/v1/service/tabby%2Fmine/start?wait=false").is_success
    wait_until("a quarter", lambda: daemon.service("tabby/mine")["progress"] == 0.25)
    (tmp_path / "go").touch()
    assert daemon.chat("mine").json()["model"] == "mine"
    answer = daemon.chat("gone")
    assert answer.status_code == 503
    assert "Could not find the model path for load" in answer.json()["error"]["message"]


def test_tabby_that_is_switched_behind_our_back(
    new_daemon: NewDaemon, tmp_path: Path, interpreter: str, tabby_model: Path
) -> None:
    """It would answer with the other model: the proxy notices, and loads the right one again."""
    (tmp_path / "main.py").write_text("")
    (tabby_model.parent / "other").mkdir()
    (tabby_model.parent / "other/config.json").write_text("{}")
    options = {"models_dir": str(tabby_model.parent), "folder": str(tmp_path)}
    written = service("tabby", interpreter, **options, models=[{"name": "mine"}])
    daemon = new_daemon({"tabby": written})
    assert daemon.chat("mine").json()["model"] == "mine"
    closed = daemon.request("POST", "/service/tabby/v1/model/load", json={"model_name": "other"})
    assert closed.status_code == 403
    [port] = re.findall(
        r"running on http://127.0.0.1:(\d+)", daemon.command("logs", "tabby").stdout
    )
    behind = httpx.post(f"http://127.0.0.1:{port}/v1/model/load", json={"model_name": "other"})
    assert behind.status_code == 200
    wait_until("that it is noticed", lambda: "'other' is loaded instead" in daemon.log)
    assert daemon.chat("mine").json()["model"] == "mine"


OLLAMA = {"FAKE_MODELS": "small:latest large:7b embedder:latest broken:latest"}


def test_ollama_switches_models(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """Loaded and unloaded by the proxy, so that its own scheduler never has to make room."""
    models = [{"name": name} for name in ("small", "large:7b", "embedder", "broken", "none")]
    written = service("ollama", program("ollama"), models=models)
    written["process"] = {"environment": OLLAMA}
    daemon = new_daemon({"ollama": written})
    for name in ("small", "large:7b", "small"):
        assert daemon.chat(name).json()["model"] == name
    assert (daemon.state("ollama/small"), daemon.state("ollama/large:7b")) == ("ready", "down")
    body = {"model": "embedder", "input": "x"}
    assert daemon.request("POST", "/v1/embeddings", json=body).json()["model"] == "embedder"
    for name, said in (("broken", "requires more system memory"), ("none", "has no model 'none'")):
        answer = daemon.chat(name)
        assert answer.status_code == 503
        assert said in answer.json()["error"]["message"]
    assert "by itself" not in daemon.get("/api/v1/service/ollama/logs").text


def test_ollama_holds_as_many_as_it_may(
    new_daemon: NewDaemon, program: Callable[[str], str]
) -> None:
    """Where its option says so."""
    models = [{"name": "small"}, {"name": "large:7b"}]
    written = service("ollama", program("ollama"), models=models, max_loaded_models=2)
    written["process"] = {"environment": OLLAMA}
    daemon = new_daemon({"ollama": written})
    for name in ("small", "large:7b"):
        assert daemon.chat(name).status_code == 200
    assert (daemon.state("ollama/small"), daemon.state("ollama/large:7b")) == ("ready", "ready")


def test_speaches_loads_and_unloads(new_daemon: NewDaemon, program: Callable[[str], str]) -> None:
    """Each model by its name at the hub, slash and all."""
    models = [{"name": name} for name in ("org/whisper", "org/kokoro", "none")]
    written = service("speaches", program("speaches"), models=models, models_max=1)
    written["process"] = {"environment": {"FAKE_MODELS": "org/whisper org/kokoro"}}
    daemon = new_daemon({"speech": written})
    for name in ("org/whisper", "org/kokoro"):
        assert daemon.chat(name).json()["model"] == name
    assert daemon.state("speech/org/whisper") == "down"
    assert "is not installed locally" in daemon.chat("none").json()["error"]["message"]
