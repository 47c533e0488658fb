"""`./run` tells what it can do before it does anything."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REMEDIES

from .tree import ROOT, files, name_of


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "run", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("tset",)])
def test_wrong_use_says_what_is_right(arguments: tuple[str, ...]) -> None:
    """A typing error installs nothing and exits 2, as every command of ours does."""
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./run COMMAND")


@pytest.mark.parametrize("command", ["demo", "test", "lint", "setup", "pins"])
def test_help_names_every_command(command: str) -> None:
    """What there is can be found without reading the script."""
    assert f"\n  {command} " in run("help").stdout
    assert f"\n    {command})" in (ROOT / "run").read_text()


@pytest.mark.parametrize("path", files("tests/*.py"), ids=name_of)
def test_what_may_be_left_out_is_known_before_it_runs(path: Path) -> None:
    """A fixture that is asked for by its name is not seen by `--without`: a marker says it."""
    text = path.read_text()
    asked = set(re.findall(r'getfixturevalue\("(\w+)"\)', text)) & set(REMEDIES)
    assert {name for name in asked if f"pytest.mark.{name}" not in text} == set()
