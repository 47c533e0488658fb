"""The table of paths, and what is read of a query."""

import doctest
import importlib

import pytest

from proxyserver.surfaces import SURFACES, Shape, model_parameter, shape_of, surface_of


@pytest.mark.parametrize("module", ["_paths", "_errors", "_query"])
def test_examples_in_docstrings_are_true(module: str) -> None:
    """An example shows what really happens."""
    assert doctest.testmod(importlib.import_module(f"proxyserver.surfaces.{module}")).failed == 0


def test_each_path_is_there_once() -> None:
    """No row hides another."""
    paths = [row.path for row in SURFACES]
    assert len({*paths}) == len(paths)
    for row in SURFACES:
        assert surface_of(row.path.replace("{path}", "x/y").encode()) is row


@pytest.mark.parametrize("path", [b"/v1/models", b"/sdapi/v1/", b"/v1/messages/", b"/", b"/v1/x"])
def test_what_is_near_is_none(path: bytes) -> None:
    """A path is all of it, and below means that something follows."""
    assert surface_of(path) is None


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"/props", None),
        (b"/props?", None),
        (b"/props?model=", None),
        (b"/props?models=a", None),
        (b"/props?model=a+b%2Fc", "a b/c"),
        (b"/props?x&mod%65l=a&y", "a"),
        (b"/props?model=%ff", "\ufffd"),
    ],
)
def test_the_model_of_a_query(target: bytes, name: str | None) -> None:
    """As servers read it, and replaced where it stands."""
    found = model_parameter(target)
    assert (found and found.name) == name
    if found is not None:
        other = model_parameter(found.renamed(target, "o&p/q"))
        assert other is not None
        assert other.name == "o&p/q"


def test_two_models_in_a_query_are_refused() -> None:
    """Some servers take the first, others the last."""
    with pytest.raises(ValueError, match="twice"):
        model_parameter(b"/props?model=a&model=b")


def test_errors_below_a_service_have_the_shape_of_its_path() -> None:
    """A client of Anthropic may have the address of a service."""
    assert shape_of(b"/service/a/v1/messages/count_tokens") is Shape.ANTHROPIC
    assert shape_of(b"/service/a/v1/chat/completions") is Shape.OPENAI
    assert shape_of(b"/service/a") is Shape.OPENAI
