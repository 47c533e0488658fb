"""The command that tells which profile is in force, and switches."""

from collections.abc import Iterator

import pytest

from .daemon import Daemon, aiproxy, running_daemon

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


def test_profiles_are_listed_and_switched(daemon: Daemon) -> None:
    """The one in force is marked; one that there is not is no success."""
    told = aiproxy("profile", "--url", daemon.url)
    said = "  day: chat, coder\n  night: no service\nno profile is in force\n"
    assert (told.returncode, told.stdout) == (0, said)
    switched = aiproxy("profile", "day", "--url", daemon.url)
    assert (switched.returncode, switched.stdout) == (
        0,
        "* day: chat, coder\n  night: no service\n",
    )
    assert aiproxy("profile", "../x", "--url", daemon.url).returncode == 1
