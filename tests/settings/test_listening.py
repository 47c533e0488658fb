"""Where the proxy listens: what can be said of it, and what is wrong with it."""

from pathlib import Path

import pytest

from proxyserver.settings import Tls
from tests.rig.certificates import authority, write_certificate

from .writing import Folder

REST = "services: {}\n"


@pytest.fixture
def files(folder: Folder) -> tuple[Path, Path]:
    return write_certificate(folder.path, authority().issue_cert("localhost"))


def test_one_port_by_default(folder: Folder) -> None:
    """Plain HTTP on loopback alone."""
    server = folder.load(f"server: {{devices: {{}}}}\n{REST}").server
    assert (server.host, server.port, server.tls, server.socket) == ("127.0.0.1", 8787, None, None)


def test_tls_takes_the_port_or_has_its_own(folder: Folder, files: tuple[Path, Path]) -> None:
    """With a `port` it is one place more; its host is that of the server unless it says."""
    pair = "cert: cert.pem, key: key.pem"
    for said, want in (
        ("", (None, None)),
        (", port: 8443", ("127.0.0.1", 8443)),
        (', host: "::1", port: 0', ("::1", 0)),
    ):
        settings = folder.load(f"server: {{devices: {{}}, tls: {{{pair}{said}}}}}\n{REST}")
        assert settings.server.tls == Tls(*files, *want)


def test_a_socket_and_its_mode(folder: Folder) -> None:
    """A path from the folder of the file; a mode as `chmod` takes it."""
    server = "server: {devices: {}, socket: run/it.sock"
    said = folder.load(f"{server}}}\n{REST}").server
    assert (said.socket, said.socket_mode) == (folder.path / "run/it.sock", 0o600)
    for mode in ("660", "0660", "'660'"):
        said = folder.load(f"{server}, socket_mode: {mode}}}\n{REST}").server
        assert said.socket_mode == 0o660


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{cert: gone.pem, key: key.pem}", "2:15: server.tls.cert: no such file"),
        ("{cert: key.pem, key: key.pem}", "2:15: server.tls.cert: "),
        ("{cert: cert.pem, key: cert.pem}", "2:30: server.tls.key: "),
        ("{cert: cert.pem}", "2:15: server.tls.cert: "),
        ("{key: key.pem}", "2:3: server.tls.cert: is missing"),
        (
            "{cert: cert.pem, key: key.pem, host: 127.0.0.2}",
            "2:45: server.tls.host: needs a `port`",
        ),
        ("{cert: cert.pem, key: key.pem, port: 8787}", "2:45: server.tls.port: is that of plain"),
        (
            "{cert: cert.pem, key: key.pem, port: 8787}\n  socket_mode: 0x1",
            "3:16: server.socket_mode: ",
        ),
    ],
)
def test_what_is_wrong_is_told(
    folder: Folder, files: tuple[Path, Path], text: str, said: str
) -> None:
    """At its line and column."""
    problems = folder.problems(f"server:\n  tls: {text}\n  devices: {{}}\n{REST}")
    assert any(said in problem for problem in problems), problems
