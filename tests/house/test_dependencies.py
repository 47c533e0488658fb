"""Who may know whom: proxyserver uses what proxycore shows, and the conductor alone drives it."""

import ast
from pathlib import Path

import pytest

from .tree import ROOT, files, imports, name_of, package_of

CONDUCTOR = ROOT / "proxyserver" / "conductor.py"


def known(path: Path) -> list[tuple[str, str]]:
    """Return all imports of a module of ours as (module, name)."""
    return list(imports(ast.parse(path.read_text()), package_of(path)))


@pytest.mark.parametrize("path", files("proxyserver/*.py"), ids=name_of)
def test_only_the_conductor_knows_core_and_trio(path: Path) -> None:
    """Between the core's answer and acting on it there is one place to look at."""
    knows = known(path)
    knows_core = any(
        (module.startswith("proxycore") and name == "Core") or (module, name) == ("proxycore", "")
        for module, name in knows
    )
    knows_trio = any(module.split(".")[0] == "trio" for module, _ in knows)
    assert path == CONDUCTOR or not (knows_core and knows_trio)


def test_the_conductor_does_know_both() -> None:
    """The rule above looks for what is really there."""
    knows = known(CONDUCTOR)
    assert ("proxycore", "Core") in knows
    assert "trio" in {module for module, _ in knows}


@pytest.mark.parametrize("path", files("proxyserver/*.py"), ids=name_of)
def test_server_uses_public_names_of_the_core(path: Path) -> None:
    """What is private in proxycore can change without a look at proxyserver."""
    private = [
        f"{module}.{name}"
        for module, name in known(path)
        if module.split(".")[0] == "proxycore" and f".{module}.{name}".count("._")
    ]
    assert private == []
