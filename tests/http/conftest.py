"""All lanes shall behave alike: what is promised of requests is tested on each."""

from collections.abc import Iterator

import pytest

from .rig import LANE

WAYS = {
    **dict.fromkeys(
        (
            "access",
            "cors",
            "held",
            "identity",
            "malformed",
            "ollama",
            "rules",
            "surfaces",
            "timeouts",
        ),
        ("fast", "hypercorn"),
    ),
    **dict.fromkeys(("errors", "records", "requests", "waiting"), ("fast", "hypercorn", "h2")),
    **dict.fromkeys(
        ("ends", "forward", "inference", "lanes", "server"),
        ("fast", "tls", "unix", "hypercorn", "h2"),
    ),
    "curl": ("fast", "tls", "unix", "hypercorn"),
}
"""How the requests of a module's tests come, except for those that ask for some ways: below a
lane, TLS and UNIX sockets are but other bytes, so not everything is tested over them."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ways = WAYS.get(metafunc.module.__name__.rpartition(".test_")[2])
    if ways is None:
        return
    only = metafunc.definition.get_closest_marker("lane")
    lanes = ways if only is None else only.args
    metafunc.parametrize("on_lane", lanes, indirect=True)


@pytest.fixture(autouse=True)
def on_lane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say by which lane the requests of this test go."""
    lane: str = getattr(request, "param", "fast")
    token = LANE.set(lane)
    yield lane
    LANE.reset(token)
