"""`aiproxy pull` fetches images of services, or any by name, and tells how far it is."""

import io
import json
from pathlib import Path

import pytest

from proxyserver._pull import show
from proxyserver.runtime import PullProgress
from tests.rig.engine import Engine
from tests.rig.registry import noise, registry

from .daemon import aiproxy

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_tell_each_tenth() -> None:
    """And how it ended."""
    out = io.StringIO()
    with show("a:1", out) as tell:
        tell(PullProgress("asking the registry", 0, 0))
        for percent in range(0, 101, 5):
            tell(PullProgress("Downloading", percent * MIB, 100 * MIB))
        tell(PullProgress("Downloaded newer image for a:1", 100 * MIB, 100 * MIB))
    lines = out.getvalue().splitlines()
    assert lines[:3] == [
        "a:1: asking the registry",
        "a:1: Downloading 10 MiB of 100 MiB",
        "a:1: Downloading 20 MiB of 100 MiB",
    ]
    assert (len(lines), lines[-1]) == (12, "a:1: Downloaded newer image for a:1")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is known of it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    out = Terminal()
    with show("[a]:1", out) as tell:
        tell(PullProgress("Downloading", 50 * MIB, 100 * MIB))
    assert "[a]:1: Downloading" in out.getvalue()
    assert "50.0/100.0 MiB" in out.getvalue()


@pytest.mark.engine
@pytest.mark.slow
def test_images_by_service_and_by_name(tmp_path: Path, engine: Engine) -> None:
    """One that fails does not keep the others; programs are told all."""
    with registry(noise(100_000)) as source:
        path = tmp_path / "aiproxy.yaml"
        services = {
            "one": {"container": {"image": source.image, "port": 80}},
            "two": {"container": {"image": source.image, "port": 80}},
            "gone": {"container": {"image": f"{source.name}/gone:1", "port": 80}},
        }
        server = {"docker": {"host": engine.host}, "ram": "1GiB"}
        path.write_text(json.dumps({"server": server, "services": services}))
        every = aiproxy("pull", "--json", "--config", str(path))
        told = json.loads(every.stdout)
        assert [(one["services"], (one["cause"] or {}).get("kind")) for one in told] == [
            (["one", "two"], None),
            (["gone"], "image_unknown"),
        ]
        assert every.returncode == 1
        assert f"aiproxy: {source.name}/gone:1: manifest unknown" in every.stderr
        assert f"{source.image}: Downloaded newer image" in every.stderr
        # Without a configuration, the engine is where DOCKER_HOST says.
        bare = aiproxy("pull", source.image, XDG_CONFIG_HOME=str(tmp_path), DOCKER_HOST=engine.host)
        assert (bare.returncode, bare.stdout) == (0, "")
        assert f"{source.image}: Image is up to date" in bare.stderr
        wrong = aiproxy("pull", "onee", "--config", str(path))
        assert wrong.returncode == 1
        assert "there is no service 'onee'; there are: one, two, gone" in wrong.stderr
