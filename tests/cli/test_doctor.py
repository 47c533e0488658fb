"""What `aiproxy doctor` finds: on this machine, and where something is wrong."""

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxyserver.doctor import Finding, Needs, Verdict, collectors, examine
from proxyserver.settings import ServerSettings
from tests.daemon.conftest import new_daemon as new_daemon
from tests.daemon.rig import Daemon
from tests.rig.collector import collecting
from tests.rig.engine import Engine
from tests.rig.fake_gpus import GIB, FakeGpus

from .daemon import aiproxy


def found(what: str, state_dir: Path, *, containers: bool = False, **server: Any) -> Finding:
    """Return what is found of one thing."""
    settings = ServerSettings(state_dir=state_dir, **{"port": 0, **server})
    return next(one for one in examine(Needs(settings, containers)) if one.what == what)


@pytest.mark.parametrize(("containers", "verdict"), [(True, Verdict.BAD), (False, Verdict.WARNING)])
def test_no_engine(tmp_path: Path, containers: bool, verdict: Verdict) -> None:
    """It is missed by those who run containers; others are told."""
    host = f"unix://{tmp_path}/none.sock"
    engine = found("engine", tmp_path, containers=containers, docker_host=host)
    assert engine == Finding(
        "engine",
        verdict,
        f"there is no engine at {tmp_path}/none.sock",
        "Install one (Debian: `sudo apt install docker.io`), or let services run as processes.",
    )


def test_an_engine_that_does_not_answer(tmp_path: Path) -> None:
    """A socket that nobody listens at is an engine that was ended."""
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    engine = found("engine", tmp_path, containers=True, docker_host=f"unix://{path}")
    assert engine.verdict is Verdict.BAD
    assert "does not answer" in engine.message
    assert "systemctl start docker" in engine.remedy


@pytest.mark.engine
def test_an_engine(tmp_path: Path, engine: Engine) -> None:
    """It says who it is, and how much room it has for images."""
    told = found("engine", tmp_path, docker_host=engine.host)
    assert told.verdict is Verdict.GOOD
    assert told.message.endswith(f"at {engine.host}")
    assert "GiB free of" in found("images", tmp_path, docker_host=engine.host).message


@pytest.mark.engine
def test_an_engine_without_gpus(tmp_path: Path, engine: Engine, fake_gpus: FakeGpus) -> None:
    """Who has a GPU and services that want it is told what the engine lacks."""
    fake_gpus.plug(8 * GIB)
    file = tmp_path / "aiproxy.yaml"
    file.write_text(
        f"server: {{state_dir: {tmp_path}, docker: {{host: '{engine.host}'}}, ram: 4GiB}}\n"
        "services: {a: {container: {image: any, port: 80, gpus: all}, memory: {vram: 1GiB}}}\n"
    )
    done = aiproxy("doctor", "--config", str(file), "--json", **fake_gpus.environment())
    findings = {one["what"]: one for one in json.loads(done.stdout)}
    assert findings["gpu"]["message"] == "gpu0 8.0 GiB"
    assert findings["gpu runtime"]["verdict"] == "bad"
    assert "nvidia-ctk" in findings["gpu runtime"]["remedy"]
    assert (done.returncode, done.stderr) == (1, "aiproxy: not well: gpu runtime\n")


def test_a_port_of_somebody_else(tmp_path: Path) -> None:
    """It answers, but not as the daemon does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with ThreadPoolExecutor(1) as pool:
            hung_up = pool.submit(lambda: listener.accept()[0].close())
            told = found(f"port {port}", tmp_path, port=port)
            hung_up.result()
    assert (told.verdict, told.message) == (Verdict.BAD, "somebody else listens there")


def test_a_port_that_is_free(tmp_path: Path) -> None:
    assert found("port 0", tmp_path).message == "free at 127.0.0.1"


@pytest.mark.slow
def test_the_daemon_itself_may_listen(new_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = new_daemon({})
    port = int(daemon.url.rpartition(":")[2])
    told = found(f"port {port}", tmp_path, port=port)
    assert (told.verdict, told.message) == (Verdict.GOOD, "the daemon listens, and is ok")


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = found("state folder", tmp_path / "file" / "state")
    assert (told.verdict, told.message) == (
        Verdict.BAD,
        f"{tmp_path}/file cannot be written to",
    )


def told(**environ: str) -> list[tuple[str, Verdict, str]]:
    """Return what is found of telemetry with these variables."""
    return [(one.what, one.verdict, one.message) for one in collectors(environ)]


def test_telemetry_that_is_off() -> None:
    """There is nothing to reach, and nothing wrong."""
    off = [("telemetry", Verdict.GOOD, "off: the environment names no collector")]
    assert told() == off
    assert told(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_SDK_DISABLED="true") == off


def test_a_collector_that_takes_all() -> None:
    """Each signal is sent to its own place, with the headers, and holds nothing."""
    with collecting() as collector:
        found = told(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="key=a%20b",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_LOGS_EXPORTER="none",
        )
    assert found == [
        ("traces", Verdict.GOOD, f"taken by {collector.url}/v1/traces"),
        ("metrics", Verdict.GOOD, f"taken by {collector.url}/v1/metrics"),
    ]
    came = sorted((path, headers["key"]) for path, headers in collector.requests)
    assert came == [("/v1/metrics", "a b"), ("/v1/traces", "a b")]
    assert (collector.spans, collector.metrics, collector.lines) == ([], [], [])


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "Give it the key that it wants, in `OTEL_EXPORTER_OTLP_HEADERS`."),
        (404, "the collector's HTTP port, usually 4318"),
        (500, "See what the collector's own log says."),
    ],
)
def test_a_collector_that_refuses(status: int, remedy: str) -> None:
    """What would help depends on what it answers."""
    with collecting() as collector:
        collector.status = status
        found = list(collectors({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}))
    assert [one.what for one in found] == ["traces", "metrics", "logs"]
    for one in found:
        assert one.verdict is Verdict.BAD
        assert one.message == f"{collector.url}/v1/{one.what}: it answers {status}"
        assert remedy in one.remedy


def test_a_page_is_no_collector() -> None:
    """The port of SigNoz' own page, say: it answers 200, and nothing is ever seen."""
    with collecting() as collector:
        collector.content_type = "text/html; charset=utf-8"
        found = list(collectors({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}))
    assert [one.verdict for one in found] == [Verdict.BAD] * 3
    assert found[0].message.endswith(": it answers with a page, as no collector does")
    assert "usually 4318" in found[0].remedy


def test_a_collector_that_is_gone_or_hangs() -> None:
    """It is waited for no longer than the environment allows."""
    with collecting() as collector:
        collector.hangs = threading.Event()
        [hangs] = collectors(
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "100",
            }
        )
        assert hangs.message == f"{collector.url}/v1/traces: no answer within 0.1 s"
    [gone] = collectors({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": collector.url})
    assert gone.message.startswith(f"{collector.url}: ConnectError: ")
    assert (hangs.verdict, gone.verdict) == (Verdict.BAD, Verdict.BAD)
    assert "Start the collector, or correct" in gone.remedy


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, "is no URL such as"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:otlp"}, "Invalid port"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": __file__,
            },
            "no certificate or crl found",
        ),
    ],
)
def test_variables_that_ask_for_what_is_none(environ: dict[str, str], says: str) -> None:
    """They are told for what they are."""
    found = list(collectors(environ))
    assert [one.verdict for one in found] == [Verdict.BAD] * 3
    assert all(says.lower() in one.message.lower() for one in found), found


@pytest.mark.slow
def test_without_a_configuration(tmp_path: Path) -> None:
    """It says what can be said of the machine."""
    done = aiproxy("doctor", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    assert "open files: " in done.stdout
    assert f"{tmp_path}/.local/state/aiproxy" in done.stdout
