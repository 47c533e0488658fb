"""Services that run elsewhere, as they are written."""

import pytest

from proxycore import Placement, ServiceId
from proxyserver.runtime._protocol import Endpoint, ExternalSpec, LiveProbe, Probe
from proxyserver.settings import Service

from .writing import ENVIRON, Folder

A = ServiceId("a")


def service(folder: Folder, keys: str, more: str = "") -> Service:
    text = f"services: {{a: {{external: {{{keys}}}{more}}}}}"
    return folder.load(text, ENVIRON | {"KEY": "Bearer secret"}).services[A]


def test_a_server_without_commands(folder: Folder) -> None:
    """It claims nothing, never leaves, and is not waited for long."""
    found = service(folder, "url: 'http://peer:81/base/', health: /h")
    what = ExternalSpec(Endpoint("peer", 81, prefix="/base"))
    assert (found.launch.what, found.runtime) == (what, "external")
    assert (found.launch.ready, found.launch.live) == (Probe("/h"), LiveProbe("/h"))
    spec = found.spec
    assert (spec.placements, spec.pinned, spec.idle_s) == ((Placement(),), True, None)
    assert spec.start_s == 10.0


def test_a_server_with_commands(folder: Folder) -> None:
    """It is like any other, and its commands are found on the PATH."""
    found = service(
        folder, "url: 'https://peer', start: sh -c 'exit 0', stop: [sh]", ", memory: {ram: 1MiB}"
    )
    endpoint = Endpoint("peer", 443, tls=True)
    assert found.launch.what == ExternalSpec(
        endpoint, ("/usr/bin/sh", "-c", "exit 0"), ("/usr/bin/sh",)
    )
    assert endpoint.authority == "peer"
    assert (found.spec.pinned, found.spec.start_s) == (False, 300.0)
    assert found.spec.idle_s is not None
    assert dict(found.spec.placements[0].amounts) == {"ram": 1 << 20}


def test_a_server_behind_a_socket(folder: Folder) -> None:
    """Its path starts at the folder of the file; a URL adds a name and a path."""
    found = service(folder, "socket: run/it.sock")
    path = str(folder.path / "run/it.sock")
    assert found.launch.what == ExternalSpec(Endpoint("localhost", 80, socket=path))
    found = service(folder, "socket: /it.sock, url: 'http://peer/v1'")
    what = ExternalSpec(Endpoint("peer", 80, prefix="/v1", socket="/it.sock"))
    assert found.launch.what == what
    assert (what.endpoint.authority, what.endpoint.place) == ("peer", "unix:/it.sock")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("health: /h", "1:26: services.a.external: needs a `url`, or a `socket`"),
        ("socket: /x, url: 'https://a'", ": services.a.external.url: a socket has no TLS"),
    ],
)
def test_where_it_is_must_be_said(folder: Folder, keys: str, said: str) -> None:
    """By a URL, a socket, or both."""
    problems = folder.problems(f"services: {{a: {{external: {{{keys}}}}}}}")
    assert any(said in problem for problem in problems), problems


def test_own_words_win(folder: Folder) -> None:
    """Probes and times beside `external` go before what follows from it."""
    more = ", ready: {path: /r}, live: false, start_s: 20, idle_s: 30"
    found = service(folder, "url: 'http://[::1]:81', health: /h", more)
    assert (found.launch.ready, found.launch.live) == (Probe("/r"), None)
    assert (found.spec.start_s, found.spec.idle_s) == (20.0, 30.0)
    assert isinstance(found.launch.what, ExternalSpec)
    assert found.launch.what.endpoint.authority == "[::1]:81"


def test_a_key_comes_from_the_environment_and_is_not_shown(folder: Folder) -> None:
    """Another key is another service, so that nothing goes on with the old one."""
    found = service(folder, "url: 'https://peer', authorization: '${env:KEY}'")
    assert isinstance(found.launch.what, ExternalSpec)
    assert found.launch.what.endpoint.authorization == "Bearer secret"
    assert "secret" not in repr(found)
    other = service(folder, "url: 'https://peer', authorization: x")
    assert found.launch.fingerprint != other.launch.fingerprint


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("external: {}", "services.a.external: needs a `url`"),
        ("external: {url: peer}", "services.a.external.url: expected http://host:port or"),
        ("external: {url: 'ftp://peer'}", "services.a.external.url: expected http://host:port or"),
        ("external: {url: 'http://a:99999'}", "services.a.external.url: expected http://host"),
        ("external: {url: 'http://u:p@a'}", "services.a.external.url: the address may have a path"),
        ("external: {url: 'http://a/?b'}", "services.a.external.url: the address may have a path"),
        ("external: {url: 'http://a', health: h}", "services.a.external.health"),
        ("external: {url: 'http://a', stop: nope}", "no program 'nope' on PATH"),
        ("external: {url: 'http://a', ca: none.pem}", "services.a.external.ca: no such file"),
        (r'external: {url: "http://a", authorization: "a\r\nb"}', "expected visible ASCII"),
        ("external: {url: 'http://a'}, process: {}", "give a `process` or a `external`, not both"),
        ("runtime: external, type: custom", "services.a.runtime: needs `external: {url: ...}`"),
        ("external: {url: 'http://a'}, runtime: docker", "docker does not run what is written"),
    ],
)
def test_what_is_wrong(folder: Folder, keys: str, said: str) -> None:
    """Each is told with its place."""
    assert any(said in told for told in folder.problems(f"services: {{a: {{{keys}}}}}"))
