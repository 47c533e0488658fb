"""`./run` tells what it can do before it does anything."""

import subprocess

import pytest

from .tree import ROOT


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
