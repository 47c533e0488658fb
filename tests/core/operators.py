"""Generated faults: operators, constants and statements of the core, changed one at a time.

What is found by a World on random walks or by the tests of the core is caught; what loops for ever
or cannot even be imported is, too.  A sample is drawn by a fixed seed.
"""

import ast
import copy
import enum
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import attrs

ROOT = Path(__file__).parents[2]
MODULES = ("_core.py", "_ledger.py", "_settle.py", "_verbs.py")
SEEDS = 40
SLOWEST_S = 240.0
"""A mutant may loop for ever; the core as it is needs a tenth of that."""

_SWAPS: Mapping[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Verdict(enum.Enum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "survived"


@attrs.frozen
class Operator:
    """The change number `index` of all that can be made in a module."""

    module: str
    index: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.what}"


EQUIVALENT: Mapping[str, str] = {}
"""Survivors that change nothing that could be seen, by their text, and why."""


def mutants() -> list[Operator]:
    """Return all changes that can be made, in the order of the source."""
    return [
        Operator(module, index, getattr(node, "lineno", 0), what)
        for module in MODULES
        for index, (node, what) in enumerate(_changes(_tree(module)))
    ]


def sample(number: int, seed: int = 1) -> list[Operator]:
    """Return so many of them, drawn by a seed; the known equivalents are left out."""
    found = [one for one in mutants() if str(one) not in EQUIVALENT]
    return Random(seed).sample(found, min(number, len(found)))


def judge(chosen: Iterable[Operator]) -> dict[Operator, Verdict]:
    """Let every mutant live for a while, as many at once as there are processors."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        chosen = list(chosen)
        return dict(zip(chosen, pool.map(_judge, chosen), strict=True))


def _judge(mutant: Operator) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "proxycore", root / "proxycore", ignore=ignore)
        shutil.copytree(ROOT / "tests" / "core", root / "tests" / "core", ignore=ignore)
        (root / "tests" / "__init__.py").touch()
        (root / "proxycore" / mutant.module).write_text(source(mutant))
        walks = ["-P", "tests/core/walker.py", str(SEEDS), "any"]
        tests = ["-m", "pytest", "tests/core", "-qx", "-m", "not slow", "-p", "no:cacheprovider"]
        passes = _passes(root, walks) and _passes(root, tests)
    return Verdict.SURVIVED if passes else Verdict.CAUGHT


def _passes(root: Path, arguments: Sequence[str]) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "1"},
            capture_output=True,
            text=True,
            timeout=SLOWEST_S,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and not done.stdout.startswith("promise ")


def source(mutant: Operator) -> str:
    """Return the module with the change made."""
    tree = _tree(mutant.module)
    for index, _ in enumerate(_changes(tree)):
        if index == mutant.index:
            return ast.unparse(tree)
    raise IndexError(mutant)


def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / "proxycore" / module).read_text())


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Make one change after the other in a tree; each is undone before the next."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=ops):
                for index, operator in enumerate(ops):
                    if (swap := _SWAPS.get(type(operator))) is not None:
                        ops[index] = swap()  # type: ignore[call-overload]
                        yield node, f"{type(operator).__name__} -> {swap.__name__}"
                        ops[index] = operator
            case ast.BoolOp(op=operator) | ast.BinOp(op=operator) | ast.AugAssign(op=operator):
                if (swap := _SWAPS.get(type(operator))) is not None:
                    node.op = swap()  # type: ignore[assignment]
                    yield node, f"{type(operator).__name__} -> {swap.__name__}"
                    node.op = operator
            case ast.Name(id=name) if name in _NAMES:
                node.id = _NAMES[name]
                yield node, f"{name} -> {node.id}"
                node.id = name
            case ast.Constant(value=bool() as value):
                node.value = not value
                yield node, f"{value} -> {not value}"
                node.value = value
            case ast.Constant(value=int() as number):
                node.value = number + 1
                yield node, f"{number} -> {number + 1}"
                node.value = number
            case ast.UnaryOp(op=ast.Not()):
                before = copy.copy(node)
                node.op = ast.UAdd()  # `+value` of a bool is as true as the bool.
                node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
                ast.fix_missing_locations(node)
                yield node, "not removed"
                node.op, node.operand = before.op, before.operand
            case ast.FunctionDef(body=body) | ast.If(body=body) | ast.For(body=body):
                for index, statement in enumerate(body):
                    if _may_go(statement):
                        body[index] = ast.copy_location(ast.Pass(), statement)
                        yield statement, f"without {ast.unparse(statement)[:60]}"
                        body[index] = statement
            case _:
                pass


def _may_go(statement: ast.stmt) -> bool:
    """Tell whether to leave a statement out means something: a call, or a change of state."""
    match statement:
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return True
        case ast.Assign(targets=[ast.Attribute(), *_]):
            return True
        case _:
            return False
