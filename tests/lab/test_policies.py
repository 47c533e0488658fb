"""Policies of other packages: found by name, watched, and never trusted."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from loguru import logger

from proxycore import POLICIES, DeviceId, Idle, Placement, ServiceId
from proxycore.policy import safe_values
from proxyserver.policies import GROUP, UnknownPolicy, load, names, policy_named

RUN = Idle(ServiceId("chat"), Placement.of([(DeviceId("gpu0"), 16)]), 10.0, 4.0, 60.0)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Collect what is logged."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)


def point(what: str) -> EntryPoint:
    return EntryPoint("theirs", f"tests.lab.plugins:{what}", GROUP)


def test_shipped_policies_are_there() -> None:
    """By their own names, the default first."""
    assert names()[: len(POLICIES)] == tuple(POLICIES)
    assert policy_named("lru") is POLICIES["lru"]


def test_an_unknown_name_says_which_there_are() -> None:
    """No default in silence."""
    with pytest.raises(UnknownPolicy, match="unknown policy 'lur'; there are cost_rate, landlord"):
        policy_named("lur")


def test_a_plug_in_goes_by_the_name_of_its_entry_point(told: list[str]) -> None:
    """So a journal can name it."""
    policy = load(point("Smallest"))
    assert (policy.name, policy.value(RUN), told) == ("theirs", 16.0, [])


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("Raises", "raised ValueError for chat: chat is not to my taste"),
        ("Babbles", "returned no number from 0 to 1e300 for chat: 'much'"),
    ],
)
def test_a_faulty_plug_in_is_told_once_and_the_default_decides(
    what: str, fault: str, told: list[str]
) -> None:
    """The core goes on."""
    policy = load(point(what))
    for _ in range(3):
        assert safe_values(policy, (RUN,)) == (POLICIES["cost_rate"].value(RUN),)
    assert told == [f"policy 'theirs' {fault}; the default decides in its place (said once)"]


@pytest.mark.parametrize(
    ("what", "why"),
    [("Nobody", "cannot be loaded: AttributeError"), ("Empty", "has no method `value`")],
)
def test_what_is_no_policy_is_refused_at_once(what: str, why: str) -> None:
    """Before anything is started by it."""
    with pytest.raises(UnknownPolicy, match=why):
        load(point(what))
