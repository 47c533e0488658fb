"""A folder of its own for every configuration."""

from pathlib import Path

import pytest

from .writing import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
