"""Generated faults: operators, constants and statements of the core, changed one at a time.

What is found by a World on random walks or by the quick tests of the core is caught.  A sample is
drawn by a fixed seed, and by the text of each change: an edit of the core changes little of it.
"""

import ast
import copy
import enum
import hashlib
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs

from . import judge
from .equivalent import EQUIVALENT

ROOT = Path(__file__).parents[2]
CORE = ROOT / "proxycore"
MODULES = ("_core.py", "_ledger.py", "_settle.py", "_verbs.py")
PROMISED = 0.9
"""So many of them are caught: what survives would be a fault that no test notices."""
PATIENCE = 3
"""A mutant may use so much more processor time than the core as it is: some loop for ever."""
UNHURRIED_S = 600
SLOWEST_S = 1800.0
"""Of a clock, not of a processor: a machine that is as slow as this says nothing of a mutant."""

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
    ENDLESS = "endless"
    """It had used up many times what the core needs when it was ended: no test would wait."""
    SURVIVED = "survived"


@attrs.frozen
class Operator:
    """The change number `index` of all that can be made in a module."""

    module: str
    index: int
    line: int = attrs.field(eq=False)
    text: str
    """Where the change is, and what: the same wherever its function moves to."""

    def __str__(self) -> str:
        return self.text


def mutants() -> list[Operator]:
    """Return all changes that can be made, in the order of the source."""
    found = []
    for module in MODULES:
        texts: Counter[str] = Counter()
        for index, change in enumerate(_changes(_tree(module))):
            text = f"{module} {change.scope}: {change.told()}"
            texts[text] += 1
            if texts[text] > 1:
                text += f" ({texts[text]})"
            found.append(Operator(module, index, change.line, text))
    return found


def sample(number: int, seed: int = 1) -> list[Operator]:
    """Return so many of them, drawn by a seed; the known equivalents are left out."""
    found = [one for one in mutants() if one.text not in EQUIVALENT]
    return sorted(found, key=lambda one: _lot(f"{seed} {one.text}"))[:number]


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def judge_all(chosen: Iterable[Operator]) -> dict[Operator, Verdict]:
    """Let every mutant live for a while, as many at once as there are processors.

    Raises:
        AssertionError: the core as it is does not pass: then no verdict would mean anything.
        subprocess.TimeoutExpired: the machine is too slow to tell.
    """
    before_s = _children_s()
    assert judge_one(patience_s=UNHURRIED_S) is Verdict.SURVIVED, "the core itself is caught"
    patience_s = math.ceil(PATIENCE * (_children_s() - before_s))
    chosen = list(chosen)
    # Here and not in the threads: Python 3.11 cannot parse in two of them at once.
    sources = [source(one) for one in chosen]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        verdicts = pool.map(partial(judge_one, patience_s=patience_s), chosen, sources)
        return dict(zip(chosen, verdicts, strict=True))


def _children_s() -> float:
    """Return the processor time of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judge_one(mutant: Operator | None = None, changed: str = "", *, patience_s: int) -> Verdict:
    """Let a mutant, whose module says what is `changed`, live for a while, or the core as it is."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        ignore = shutil.ignore_patterns("*.pyc.*")  # Half-written; what is compiled saves time.
        shutil.copytree(CORE, root / "proxycore", ignore=ignore)
        shutil.copytree(ROOT / "tests" / "core", root / "tests" / "core", ignore=ignore)
        (root / "tests" / "__init__.py").touch()
        if mutant is not None:
            (root / "proxycore" / mutant.module).write_text(changed)
        done = subprocess.run(
            [sys.executable, "-P", "-m", judge.__name__, str(patience_s)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "1"},
            capture_output=True,
            timeout=SLOWEST_S,
        )
    match done.returncode:
        case 0:
            return Verdict.SURVIVED
        case code if code == -signal.SIGXCPU:
            return Verdict.ENDLESS
        case _:
            return Verdict.CAUGHT


def source(mutant: Operator) -> str:
    """Return the module with the change made."""
    tree = _tree(mutant.module)
    for index, _ in enumerate(_changes(tree)):
        if index == mutant.index:
            return ast.unparse(tree)
    raise IndexError(mutant)


@attrs.frozen
class _Change:
    """A change that has been made in a tree, until the next is asked for."""

    scope: str
    within: ast.stmt
    before: list[str]
    """The lines of `within`, without the change."""
    line: int

    def told(self) -> str:
        """Return the line that is different, as it was and as it is."""
        after = ast.unparse(self.within).splitlines()
        [(old, new)] = {
            (old.strip(), new.strip())
            for old, new in zip(self.before, after, strict=True)
            if old != new
        }
        return f"{old}  ->  {new}"


def _tree(module: str) -> ast.Module:
    return ast.parse((CORE / module).read_text())


def _changes(tree: ast.Module) -> Iterator[_Change]:
    """Make one change after the other in a tree; each is undone before the next."""
    for scope, within in _scopes(tree.body):
        before = ast.unparse(within).splitlines()
        for node in ast.walk(within):
            for changed in _changes_of(node):
                yield _Change(scope, within, before, getattr(changed, "lineno", 0))


def _scopes(body: Iterable[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a text can be looked for in: functions, and what is outside of any."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from _scopes(statement.body, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef):
            yield prefix + statement.name, statement
        else:
            yield prefix.removesuffix(".") or "module", statement


def _changes_of(node: ast.AST) -> Iterator[ast.AST]:
    """Make one change of a node after the other; each is undone before the next."""
    match node:
        case ast.Compare(ops=ops):
            for index, operator in enumerate(ops):
                if (swap := _SWAPS.get(type(operator))) is not None:
                    ops[index] = swap()  # type: ignore[call-overload]
                    yield node
                    ops[index] = operator
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            if (swap := _SWAPS.get(type(operator))) is not None:
                node.op = swap()  # type: ignore[assignment]
                yield node
                node.op = operator
        case ast.Name(id=name) if name in _NAMES:
            node.id = _NAMES[name]
            yield node
            node.id = name
        case ast.Constant(value=bool() as value):
            node.value = not value
            yield node
            node.value = value
        case ast.Constant(value=int() as number):
            node.value = number + 1
            yield node
            node.value = number
        case ast.UnaryOp(op=ast.Not()):
            before = copy.copy(node)
            node.op = ast.UAdd()  # `+value` of a bool is as true as the bool.
            node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
            ast.fix_missing_locations(node)
            yield node
            node.op, node.operand = before.op, before.operand
        case (
            ast.FunctionDef(body=body)
            | ast.For(body=body)
            | ast.While(body=body)
            | ast.match_case(body=body)
        ):
            yield from _without_each(body)
        case ast.If(body=body, orelse=orelse):
            yield from _without_each(body)
            yield from _without_each(orelse)
        case _:
            pass


def _without_each(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for index, statement in enumerate(body):
        if _may_go(statement):
            body[index] = ast.copy_location(ast.Pass(), statement)
            yield statement
            body[index] = statement


def _may_go(statement: ast.stmt) -> bool:
    """Tell whether to leave a statement out means something: a call, or a change of state."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return False  # It is for the type checker: nothing gets there.
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return True
        case ast.Assign(targets=[ast.Attribute(), *_]):
            return True
        case _:
            return False
