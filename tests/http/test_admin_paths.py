"""What administers a server is found however it is written, and nothing else is."""

import pytest

from proxyserver.admin_paths import closed_by, is_pattern

SLEEP = ["/sleep", "POST /api/pull", "/api/admin/*", "/update_*", "?autoload"]


@pytest.mark.parametrize(
    "target",
    [
        b"/sleep",
        b"/sleep?level=1",
        b"/sleep/",
        b"//sleep",
        b"/./sleep",
        b"/.//./sleep/.",
        b"/x/../sleep",
        b"/../sleep",
        b"/sleep/x/..",
        b"/%73leep",
        b"/%2573leep",
        b"/SLEEP",
        b"/%53Leep",
        b"/x%2Fsleep",
        b"/%2e%2e/sleep",
        b"/x\\sleep",
        b"/x%5csleep",
        b"/sleep;v=1",
        b"/sleep%00",
        b"/sleep%20",
        b"/sleep#x",
        b"/sleep%3Fx",
        b"/x?/../sleep",
        b"/x?y=/sleep",
        b"/api/sleep",
        b"/v1/openai/sleep",
    ],
)
def test_no_disguise_helps(target: bytes) -> None:
    """Whatever some server would read as the path closes it, for every method."""
    for method in ("GET", "POST", "post", "DELETE"):
        assert closed_by(SLEEP, method, target) == "/sleep"


@pytest.mark.parametrize(
    ("method", "target", "pattern"),
    [
        ("POST", b"/api/pull", "POST /api/pull"),
        ("post", b"/api/pull", "POST /api/pull"),
        ("GET", b"/api/pull", None),
        ("POST", b"/api/admin/reload_config", "/api/admin/*"),
        ("POST", b"/x/api/admin/a/b?c", "/api/admin/*"),
        ("POST", b"/api/admin", None),
        ("GET", b"/update_weights", "/update_*"),
        ("GET", b"/update/x", None),
        ("POST", b"/v1/chat/completions?autoload=true", "?autoload"),
        ("POST", b"/v1/chat/completions?a=1&AUTO%6coad", "?autoload"),
        ("POST", b"/v1/chat/completions?x=autoload", None),
        ("POST", b"/v1/chat/completions", None),
        ("GET", b"/sleeper", None),
        ("GET", b"/sleep/x", None),
        ("GET", b"/v1/models/sleep-1b", None),
        ("GET", b"/", None),
        ("GET", b"", None),
        ("OPTIONS", b"*", None),
    ],
)
def test_no_more_is_closed_than_is_said(method: str, target: bytes, pattern: str | None) -> None:
    """By method, below a path, by a part of a name, by a parameter."""
    assert closed_by(SLEEP, method, target) == pattern


def test_deep_disguises_cost_little() -> None:
    """A target as long as a head may be is read in a moment."""
    assert closed_by(SLEEP, "GET", b"/" + b"%25" * 20_000 + b"73leep") is None
    assert closed_by(SLEEP, "GET", b"/a" * 30_000 + b"/sleep") == "/sleep"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("/sleep", True),
        ("POST /api/pull", True),
        ("/api/admin/*", True),
        ("?autoload", True),
        ("/*", True),
        ("/", False),
        ("//", False),
        ("?", False),
        ("sleep", False),
        ("post /x", False),
        ("POST  /x", False),
        ("POST", False),
        ("", False),
        ("/a b", False),
    ],
)
def test_patterns(text: str, good: bool) -> None:
    """One that would close everything, or nothing, is none."""
    assert is_pattern(text) is good
