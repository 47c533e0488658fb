"""No page of a stranger's gets an answer, whatever it calls this machine."""

import pytest

from proxyserver.http.errors import ApiError
from proxyserver.http.hosts import check, is_loopback
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


def known(headers: dict[str, str]) -> Fields:
    """Return headers as the scanner of heads finds them."""
    return {name.lower().encode(): [value.encode()] for name, value in headers.items()}


@pytest.mark.parametrize("host", OURS)
def test_loopback_names_are_ours(host: str) -> None:
    """Any port will do: tunnels change it."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", STRANGE)
def test_other_names_are_not(host: str) -> None:
    """Neither names that are near, nor ones that are no names."""
    assert not is_loopback(host)


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
        check(method.encode(), known(headers))
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
    check(method.encode(), known(headers))


def test_two_hosts_are_none() -> None:
    """One of them may be a stranger's."""
    with pytest.raises(ApiError):
        check(b"GET", {b"host": [b"localhost", b"evil.example"]})
