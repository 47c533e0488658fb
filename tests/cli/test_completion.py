"""Shells complete what is typed, by the scripts that `aiproxy completion` prints."""

import subprocess

import pytest

from proxyserver.cli import app

from .daemon import aiproxy
from .test_docs import commands

pytestmark = pytest.mark.slow  # Each starts a Python of its own.


def completed(script: str, line: str) -> list[str]:
    """Return what a real bash proposes for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _aiproxy; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes() -> None:
    """Commands, those of a group, options, and the words that an option may have."""
    script = aiproxy("completion", "bash").stdout
    assert completed(script, "aiproxy st") == ["status", "start", "stop"]
    assert completed(script, "aiproxy config s") == ["schema", "show"]
    assert completed(script, "aiproxy stop --f") == ["--force"]
    assert completed(script, "aiproxy serve --log-format ") == ["text", "json"]
    assert completed(script, "aiproxy completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("shell", "start"),
    [("bash", "# Bash completion"), ("zsh", "#compdef aiproxy"), ("fish", "# Fish completion")],
)
def test_each_shell_has_a_script(shell: str, start: str) -> None:
    """It knows every command."""
    done = aiproxy("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(start)
    names = {name.split()[-1] for name, _ in commands(app)}
    assert {name for name in names if name not in done.stdout} == set()


def test_zsh_is_told_whose_it_is() -> None:
    """A function that nobody calls completes nothing, whether it is sourced or on `fpath`."""
    end = aiproxy("completion", "zsh").stdout[-200:]
    assert '_cyclopts_aiproxy "$@"' in end
    assert "compdef _cyclopts_aiproxy aiproxy" in end


def test_other_shells() -> None:
    """Wrong usage, with those that there are."""
    done = aiproxy("completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "fish" in done.stderr
