"""A daemon at three places: commands reach it at each, and it leaves no socket behind."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from tests.cli.daemon import aiproxy
from tests.daemon.rig import Daemon
from tests.rig.certificates import authority_file, certificate_files

NewDaemon = Callable[..., Daemon]


def test_commands_reach_it_everywhere(new_daemon: NewDaemon, tmp_path: Path) -> None:
    """By plain HTTP, by TLS that they check, and by a socket, which a crash leaves behind."""
    cert, key = map(str, certificate_files())
    path = tmp_path / "run.sock"
    daemon = new_daemon({}, tls={"cert": cert, "key": key, "port": 0}, socket=str(path))
    trust = {"SSL_CERT_FILE": str(authority_file())}
    daemon.kill()
    assert path.is_socket()
    daemon.start()
    secure = re.search(r"https://\S+(?=,)", daemon.log)
    assert secure is not None
    for url in (daemon.url, secure[0], f"unix:{path}", f"unix://{path}"):
        done = aiproxy("status", "--json", "--url", url, **trust)
        assert (done.returncode, json.loads(done.stdout)["services"]) == (0, []), done.stderr
    doubted = aiproxy("status", "--url", secure[0])
    assert (doubted.returncode, "CERTIFICATE_VERIFY_FAILED" in doubted.stderr) == (3, True)
    bench = aiproxy("bench", "nobody", "-n", "1", "--url", f"unix:{path}")
    assert "there is no model 'nobody'" in bench.stdout + bench.stderr
    assert daemon.stop() == 0
    assert not path.exists()
    gone = aiproxy("status", "--url", f"unix:{path}")
    assert (gone.returncode, f"no daemon at unix:{path}" in gone.stderr) == (3, True)


@pytest.mark.parametrize("port", ["in its place", "of its own"])
def test_the_doctor_knows_it_over_tls(new_daemon: NewDaemon, port: str) -> None:
    """Whether the daemon listens there is no question of trust."""
    cert, key = map(str, certificate_files())
    daemon = new_daemon({}, tls={"cert": cert, "key": key, "port": 0})
    secure = re.search(r"https://127.0.0.1:(\d+)", daemon.log)
    assert secure is not None
    configuration = deepcopy(daemon.configuration)
    server = configuration["server"]
    if port == "of its own":
        server["tls"]["port"] = int(secure[1])
    else:
        server["port"] = int(secure[1])
        del server["tls"]["port"]
    file = daemon.folder / "other.yaml"
    file.write_text(json.dumps(configuration))
    done = aiproxy("doctor", "--config", str(file))
    assert re.search(rf"port {secure[1]}: the daemon listens, and is ok", done.stdout), done.stdout
