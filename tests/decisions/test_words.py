"""The words of explanations, as golden texts."""

import pytest

from .stories import STORIES, path_of


@pytest.mark.parametrize("name", STORIES)
def test_an_explanation_reads_as_it_did(name: str) -> None:
    """A change of words is seen, and made on purpose."""
    assert STORIES[name]() + "\n" == path_of(name).read_text()
