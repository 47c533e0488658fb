"""All lanes shall behave alike: what is promised of requests is tested on each."""

from collections.abc import Iterator

import pytest

from .rig import LANE

SHARED = (
    "test_access",
    "test_cors",
    "test_curl",
    "test_forward",
    "test_ends",
    "test_held",
    "test_identity",
    "test_inference",
    "test_lanes",
    "test_malformed",
    "test_records",
    "test_requests",
    "test_server",
    "test_timeouts",
)
"""Modules whose tests run on all lanes, except for those that ask for some."""
ALL = ("fast", "tls", "unix", "hypercorn")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] not in SHARED:
        return
    only = metafunc.definition.get_closest_marker("lane")
    lanes = ALL if only is None else only.args
    metafunc.parametrize("on_lane", lanes, indirect=True)


@pytest.fixture(autouse=True)
def on_lane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say by which lane the requests of this test go."""
    lane: str = getattr(request, "param", "fast")
    token = LANE.set(lane)
    yield lane
    LANE.reset(token)
