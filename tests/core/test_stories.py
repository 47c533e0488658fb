"""Rare and hard scenarios as stories in text; `python -m tests.core.stories` tells them anew."""

from pathlib import Path

import pytest

from .stories import play, stories


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_a_story_goes_as_it_is_told(path: Path) -> None:
    """The core does what the story says, to the letter."""
    told = path.read_text()
    assert play(told) == told
