"""proxycore decides and does nothing: no clock, I/O, randomness, logging, tasks, environment."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .tree import ROOT, files, imports, name_of, package_of

SIM = "proxycore.sim"

PURE = frozenset(
    """
    __future__ abc bisect collections collections.abc contextlib copy difflib enum fractions
    functools heapq itertools json math numbers operator re statistics string textwrap types typing
    attr attrs
    """.split()
)
"""What proxycore may import besides itself: nothing here looks at the world."""

BANNED = frozenset(
    "__import__ breakpoint compile eval exec globals hash id input open print".split()
)
"""Built-ins that act, or whose answer differs from one process to the next."""

ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def impurities(source: str, package: str = "proxycore") -> Iterator[str]:
    """Yield what is impure in a module of the package, in words.

    A module of `proxycore.sim` may use a `random.Random` with a seed.
    """
    tree = ast.parse(source)
    modules = [module for module, name in imports(tree, package) if not name]
    for module, name in imports(tree, package):
        if module == "random" and package == SIM and name in ("", "Random"):
            continue
        if module.split(".")[0] != "proxycore" and module not in PURE:
            yield f"imports {module}"
    for node in ast.walk(tree):
        what = None
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in BANNED:
                what = f"uses {name}"
            case ast.For(iter=it) | ast.comprehension(iter=it) if _is_set(it):
                what = "iterates over a set"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if (
                "random" in modules and name != "Random"
            ):
                what = f"uses random.{name}"
            case ast.Call(
                func=ast.Attribute(attr="Random") | ast.Name(id="Random"), args=[], keywords=[]
            ):
                what = "makes a Random without a seed"
            case _ if isinstance(node, ASYNC):
                what = "is asynchronous"
        if what:
            yield what


def _is_set(node: ast.expr) -> bool:
    """Tell whether this is plainly a set; most sets have a name, and no test sees those."""
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
    return False


@pytest.mark.parametrize("path", files("proxycore/*.py"), ids=name_of)
def test_module_is_pure(path: Path) -> None:
    """No module of proxycore knows the world."""
    assert list(impurities(path.read_text(), package_of(path))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", "imports time"),
        ("from os import environ", "imports os"),
        ("import collections.abc, trio", "imports trio"),
        ("import random", "imports random"),
        ("print(1)", "uses print"),
        ("key = hash", "uses hash"),
        ("async def f(): pass", "is asynchronous"),
        ("for x in {1, 2}: pass", "iterates over a set"),
        ("y = [x for x in frozenset(z)]", "iterates over a set"),
    ],
)
def test_impurity_is_seen(source: str, found: str) -> None:
    """Each rule bites."""
    assert list(impurities(source)) == [found]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import random\nx = random.random()", ["uses random.random"]),
        ("import random\nx = random.Random()", ["makes a Random without a seed"]),
        ("import random\nx = random.Random(7)", []),
        ("from random import Random\ndef f(random: Random) -> int: return random.choice(x)", []),
        ("from random import choice", ["imports random"]),
    ],
)
def test_simulation_may_use_a_seeded_random_only(source: str, found: list[str]) -> None:
    """A simulation gives the same answer again."""
    assert list(impurities(source, SIM)) == found


def test_core_needs_attrs_alone(tmp_path: Path) -> None:
    """Another tool can use proxycore without anything that the daemon needs."""
    for package in ("attr", "attrs"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        (tmp_path / package).symlink_to(Path(spec.origin).parent)
    (tmp_path / "proxycore").symlink_to(ROOT / "proxycore")
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files("proxycore/*.py")
        if path.name != "__init__.py"
    ]
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {', '.join(modules)}"
    # -I: neither this folder nor the environment; -S: no site-packages.
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
