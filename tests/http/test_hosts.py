"""No page of a stranger's gets an answer, whatever it calls this machine."""

import pytest

from proxyserver.http.errors import ApiError
from proxyserver.http.hosts import HostRules, is_loopback
from proxyserver.wire import Fields

OURS = [
    "localhost",
    "LOCALHOST:8787",
    "a.localhost",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]",
    "[::1]:8",
]
STRANGE = [
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "192.168.1.2",
    "0.0.0.0",
    "[::2]:80",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost:x",
    "localhost/x",
    "[",
    "::1",
]

RULES = HostRules()


def known(headers: dict[str, str]) -> Fields:
    """Return headers as the scanner of heads finds them."""
    return {name.lower().encode(): [value.encode()] for name, value in headers.items()}


@pytest.mark.parametrize("host", OURS)
def test_loopback_names_are_ours(host: str) -> None:
    """Any port will do: tunnels change it."""
    assert is_loopback(host.encode())


@pytest.mark.parametrize("host", STRANGE)
def test_other_names_are_not(host: str) -> None:
    """Neither names that are near, nor ones that are no names."""
    assert not is_loopback(host.encode())


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"host": "evil.example"}),
        ("GET", {"host": "localhost", "origin": "http://evil.example"}),
        ("POST", {"host": "localhost", "origin": "null"}),
        ("POST", {"host": "localhost", "sec-fetch-site": "cross-site"}),
        ("GET", {"host": "localhost", "sec-fetch-site": "cross-site"}),
        (
            "POST",
            {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ),
    ],
)
def test_pages_of_strangers_are_refused(method: str, headers: dict[str, str]) -> None:
    """By rebinding a name, by a script, by a form, by an image."""
    with pytest.raises(ApiError) as refused:
        RULES.check(method.encode(), known(headers))
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("POST", {"host": "localhost:8787"}),
        ("POST", {"Host": "localhost", "Origin": "http://127.0.0.1:3000"}),
        ("POST", {"host": "localhost", "sec-fetch-site": "same-origin"}),
        (
            "GET",
            {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ),
    ],
)
def test_programs_and_own_pages_are_served(method: str, headers: dict[str, str]) -> None:
    """Programs send none of the marks; a link that is followed is harmless."""
    RULES.check(method.encode(), known(headers))


OPEN = HostRules(
    listens_beyond=True,
    hosts=("gpu.lan", "*.example.org"),
    origins=("https://chat.example.com", "app://obsidian.md"),
)


@pytest.mark.parametrize(
    "host",
    ["gpu.lan", "GPU.LAN:8787", "a.b.example.org:1", "192.168.1.2:8787", "[fe80::1]", "localhost"],
)
def test_further_names_are_ours(host: str) -> None:
    """Those of the configuration, and any address where other machines reach us."""
    assert OPEN.check(b"POST", known({"host": host})) is None


@pytest.mark.parametrize("host", ["evil.example", "gpu.lan.evil.example", "example.org", "x.lan"])
def test_names_near_further_ones_are_not(host: str) -> None:
    """The ending counts with its dot, the name as a whole."""
    with pytest.raises(ApiError, match=r"`server\.hosts`"):
        OPEN.check(b"POST", known({"host": host}))


def test_any_name_can_be_ours() -> None:
    """Where there are keys, a strange name alone lets nobody in."""
    anyone = HostRules(hosts=("*",))
    assert anyone.check(b"GET", known({"host": "evil.example"})) is None
    with pytest.raises(ApiError):
        anyone.check(b"GET", known({"host": "evil.example@localhost"}))


@pytest.mark.parametrize("origin", ["https://chat.example.com", "app://obsidian.md"])
def test_listed_pages_are_told_apart(origin: str) -> None:
    """They may read the answer; the browser says of them that they are of another site."""
    headers = known({"host": "gpu.lan", "origin": origin, "sec-fetch-site": "cross-site"})
    assert OPEN.check(b"POST", headers) == origin.encode()


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("gpu.lan:8787", "http://gpu.lan:8787", True),
        ("gpu.lan", "https://GPU.lan", True),
        ("gpu.lan:8787", "http://gpu.lan:3000", False),
        ("gpu.lan", "http://localhost:3000", False),
        ("localhost:8787", "http://localhost:3000", True),
        ("gpu.lan", "https://chat.example.com.evil.example", False),
        ("gpu.lan", "http://chat.example.com", False),
        ("gpu.lan", "https://chat.example.com:444", False),
        ("gpu.lan", "null", False),
    ],
)
def test_own_pages_are_of_the_same_name(host: str, origin: str, allowed: bool) -> None:
    """Another port is another site, but on this machine, where programs trust each other."""
    if allowed:
        assert OPEN.check(b"POST", known({"host": host, "origin": origin})) is None
    else:
        with pytest.raises(ApiError, match=r"`server\.cors`"):
            OPEN.check(b"POST", known({"host": host, "origin": origin}))


def test_two_origins_are_none() -> None:
    """A browser sends one."""
    origins = {b"host": [b"gpu.lan"], b"origin": [b"https://chat.example.com"] * 2}
    with pytest.raises(ApiError):
        OPEN.check(b"POST", origins)


def test_two_hosts_are_none() -> None:
    """One of them may be a stranger's."""
    with pytest.raises(ApiError):
        RULES.check(b"GET", {b"host": [b"localhost", b"evil.example"]})
