"""A configuration that exists is valid: everything else is refused when it is made."""

from collections.abc import Callable
from typing import Any

import pytest

from proxycore import CoreConfig, DeviceSpec, LocalError, Placement, ServiceSpec, idle_auto_s

from .shapes import CHAT, CODER, GPU0, GPU1, machine, on


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DeviceSpec(GPU0, 0), "capacity must be more than 0"),
        (lambda: DeviceSpec(GPU0, 1, headroom=-1), "headroom must not be negative"),
        (lambda: Placement(((GPU0, 0),)), "more than 0 bytes"),
        (lambda: Placement(((GPU1, 1), (GPU0, 1))), "each device once, in order"),
        (lambda: Placement(((GPU0, 1), (GPU0, 1))), "each device once, in order"),
        (lambda: ServiceSpec(CHAT, ()), "'chat' needs at least one placement"),
        (
            lambda: machine(ServiceSpec(CHAT, (on(tpu=1),))),
            "'chat' claims unknown device 'tpu'",
        ),
        (lambda: CoreConfig((DeviceSpec(GPU0, 1), DeviceSpec(GPU0, 2))), "two devices"),
        (lambda: machine(ServiceSpec(CHAT), ServiceSpec(CHAT)), "two services with one id"),
        (lambda: machine(ServiceSpec(CHAT, aliases=("chat",))), "'chat' names both"),
        (
            lambda: machine(ServiceSpec(CHAT), ServiceSpec(CODER, aliases=("chat",))),
            "'chat' names both 'chat' and 'coder'",
        ),
        (
            lambda: machine(ServiceSpec(CHAT, aliases=("x",)), ServiceSpec(CODER, aliases=("x",))),
            "'x' names both 'chat' and 'coder'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], words: str) -> None:
    """With the name of what is wrong."""
    with pytest.raises(LocalError, match=words):
        make()


@pytest.mark.parametrize(
    "field",
    [
        "load_s",
        "concurrent_max",
        "queue_max",
        "idle_s",
        "start_s",
        "start_max_s",
        "drain_s",
        "grace_s",
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_and_times_are_more_than_nothing(field: str, value: float) -> None:
    """A limit of 0 would stop everything, and a time of 0 would fire for ever."""
    fields: dict[str, Any] = {field: value}
    with pytest.raises(LocalError, match=f"{field} must be more than 0"):
        ServiceSpec(CHAT, **fields)


def test_a_placement_is_made_from_pairs_in_any_order() -> None:
    """Claims of nothing are left out."""
    assert Placement.of([(GPU1, 2), (GPU0, 1)]).amounts == ((GPU0, 1), (GPU1, 2))
    assert Placement.of([(GPU0, 0)]) == Placement()


def test_the_headroom_may_take_all() -> None:
    """Then nothing is usable, which is not less than nothing."""
    assert DeviceSpec(GPU0, 10, headroom=3).usable == 7
    assert DeviceSpec(GPU0, 10, headroom=30).usable == 0


@pytest.mark.parametrize(("load_s", "idle_s"), [(1.0, 300.0), (10.0, 1600.0), (100.0, 7200.0)])
def test_idle_auto_is_worth_the_load(load_s: float, idle_s: float) -> None:
    """160 load times, within 5 min and 2 h."""
    assert idle_auto_s(load_s) == idle_s
