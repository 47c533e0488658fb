"""Names lead to services."""

import pytest

from proxycore import ModelId, ModelSpec, Route, Router, ServiceSpec, Unknown

from .shapes import CHAT, CODER, machine

LARGE = ModelSpec(ModelId("large"), aliases=("l", "shared"))
ROUTER = Router.of(
    machine(
        ServiceSpec(CODER, aliases=("gpt-4", "code")),
        ServiceSpec(CHAT, models=(LARGE, ModelSpec(ModelId("coder"), aliases=("shared",)))),
    )
)


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("coder", Route(CODER)),
        ("gpt-4", Route(CODER)),
        ("large", Route(CHAT, LARGE.id)),
        ("l", Route(CHAT, LARGE.id)),
        ("chat/large", Route(CHAT, LARGE.id)),
        ("chat/coder", Route(CHAT, ModelId("coder"))),
        ("shared", Route(CHAT, LARGE.id)),
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
