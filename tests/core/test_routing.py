"""Names lead to services."""

import pytest

from proxycore import Route, Router, ServiceId, ServiceSpec, Unknown

from .shapes import CHAT, CODER, machine

LARGE, OTHER = ServiceId("chat/large"), ServiceId("chat/coder")
ROUTER = Router.of(
    machine(
        ServiceSpec(CODER, aliases=("gpt-4", "code")),
        ServiceSpec(CHAT),
        ServiceSpec(LARGE, host=CHAT, aliases=("l", "shared")),
        ServiceSpec(OTHER, host=CHAT, aliases=("shared",)),
    )
)


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("coder", Route(CODER)),
        ("gpt-4", Route(CODER)),
        ("large", Route(LARGE)),
        ("l", Route(LARGE)),
        ("chat/large", Route(LARGE)),
        ("chat/coder", Route(OTHER)),
        ("shared", Route(LARGE)),
    ],
)
def test_a_name_leads_to_one_service(name: str, route: Route) -> None:
    """A service's name wins over a model's, and the first model over the next."""
    assert ROUTER.resolve(name) == route


@pytest.mark.parametrize(
    ("name", "near"), [("codr", ("coder", "code")), ("Coder", ("coder",)), ("zzz", ()), ("", ())]
)
def test_an_unknown_name_tells_its_neighbours(name: str, near: tuple[str, ...]) -> None:
    """At most three, the nearest first."""
    resolved = ROUTER.resolve(name)
    assert isinstance(resolved, Unknown)
    assert resolved.near[: len(near)] == near
    assert bool(resolved.near) == bool(near)
