"""What the infinity template makes of several models."""

import pytest

from proxyserver.templates.infinity import Infinity, InfinityOptions


def test_each_model_has_the_name_that_it_is_served_by() -> None:
    """Of a folder, the last part: the rest differs between a process and a container."""
    draft = Infinity().draft(InfinityOptions(("BAAI/bge-small-en-v1.5", "/models/mine")))
    assert draft.names == ("BAAI/bge-small-en-v1.5", "mine")


def test_two_models_of_one_name_are_told() -> None:
    """Before one hides the other."""
    with pytest.raises(ValueError, match="two of them would be called 'mine'"):
        Infinity().draft(InfinityOptions(("/here/mine", "/there/mine")))
