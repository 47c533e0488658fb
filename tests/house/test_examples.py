"""What people copy from the pages works."""

import re
from pathlib import Path

import pytest

from proxyserver.settings import load

from .tree import ROOT

PAGES = ("README.md", "docs/tutorial/first-service.md")


def configurations(page: str) -> list[str]:
    """Return every configuration of a page; an indented block goes below the last whole one."""
    found: list[str] = []
    for block in re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S):
        found.append(f"{found[-1]}\n{block}" if block.startswith(" ") else block)
    return found


CASES = [(page, text) for page in PAGES for text in configurations(page)]


@pytest.mark.parametrize(
    "text", [text for _, text in CASES], ids=[Path(page).stem for page, _ in CASES]
)
def test_configuration_is_accepted(tmp_path: Path, text: str) -> None:
    """With the models and the program in place, `config check` has nothing to say."""
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for model in re.findall(r"/models/(\S+\.gguf)", text):
        (tmp_path / model).write_bytes(b"GGUF")
    file = tmp_path / "aiproxy.yaml"
    file.write_text(text.replace("/models/", f"{tmp_path}/"))
    settings = load(file, {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert settings.services


def test_there_are_configurations() -> None:
    """The pages are really read."""
    assert {page for page, _ in CASES} == set(PAGES)
