"""Every planted fault is found by the World alone, which names the promise; the core has none."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

import proxycore

from . import walker
from .found import FOUND
from .mutants import MUTANTS, Mutant

SEEDS = range(400)
"""About twice what the best hidden of the mutants needs."""
AT_ONCE = 20
"""So many walks a program takes: where hash seeds are compared, more would be walked in vain."""
HASH_SEEDS = ("1", "2", "3")
COMPARED = range(200)
"""On these walks the core is compared under all hash seeds.

The mutant in which the order of a set decides differs on three walks of ten: of a dependence that
shows ten times more rarely, 997 of 1000 are found.
"""
SLOWEST_S = 240.0
PROMISES = range(1, 19)


def walks(root: Path, seeds: range, promise: int, hash_seed: str = HASH_SEEDS[0]) -> list[str]:
    """Walk with the proxycore in `root`; return what each walk broke, or a digest of what it did.

    Args:
        root: where proxycore is.
        seeds: the walks, one after the other.
        promise: its first breach ends the walks.
        hash_seed: decides the order of sets.
    """
    numbers = map(str, (seeds.start, len(seeds), promise))
    done = subprocess.run(
        [sys.executable, "-P", str(Path(walker.__file__)), *numbers],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=SLOWEST_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def breach(root: Path, seeds: range, promise: int) -> str:
    """Return the breach of a promise on these walks; empty: it was not broken."""
    hash_seeds = HASH_SEEDS if promise == 11 else HASH_SEEDS[:1]
    told = [walks(root, seeds, promise, one) for one in hash_seeds]
    for answer in chain(*told):
        if answer.startswith(f"promise {promise}:"):
            return answer
    for seed, answers in zip(seeds, zip(*told, strict=True), strict=True):
        if len(set(answers)) > 1:
            return f"promise 11: another PYTHONHASHSEED brings other effects (seed {seed})"
    return ""


def hunt(mutant: Mutant, root: Path) -> str:
    """Return the breach of the promise of a mutant, which is planted in `root`.

    The walk that found it before comes first; all others are for when it finds it no more.
    """
    known = FOUND.get(mutant.name)
    first = [] if known is None else [range(known, known + 1)]
    parts = (SEEDS[at : at + AT_ONCE] for at in range(0, len(SEEDS), AT_ONCE))
    plant(mutant, root)
    return next(filter(None, (breach(root, part, mutant.promise) for part in (*first, *parts))), "")


def plant(mutant: Mutant, root: Path) -> None:
    """Copy the core to `root`, with one fault in it."""
    ignore = shutil.ignore_patterns("*.pyc.*")  # Half-written; what is compiled saves time.
    shutil.copytree(Path(proxycore.__file__).parent, root / "proxycore", ignore=ignore)
    module = root / "proxycore" / mutant.module
    text = module.read_text()
    assert text.count(mutant.old) == 1, f"the mutant does not apply any more: {mutant}"
    module.write_text(text.replace(mutant.old, mutant.new))


def hunts(mutants: Sequence[Mutant], folder: Path) -> dict[Mutant, str]:
    """Let all mutants walk side by side; return of each how the World says what it breaks."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        roots = [folder / str(number) for number in range(len(mutants))]
        return dict(zip(mutants, pool.map(hunt, mutants, roots), strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mutant], str]]:
    """All mutants walk side by side; a test asks what became of its own, and waits for it alone."""
    results: dict[Mutant, Future[str]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for mutant in MUTANTS:
            results[mutant] = pool.submit(hunt, mutant, tmp_path_factory.mktemp("mutant"))
        yield lambda mutant: results[mutant].result()
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.promise} {mutant.name}")
def test_the_world_finds_the_fault(mutant: Mutant, found: Callable[[Mutant], str]) -> None:
    """The World says which promise a mutant breaks."""
    assert found(mutant).startswith(f"promise {mutant.promise}:")


@pytest.mark.slow
def test_most_are_found_at_once(found: Callable[[Mutant], str]) -> None:
    """Else this takes minutes longer: `python -m tests.core.hunt` looks for the walks anew."""
    here = [one for one in MUTANTS if found(one).endswith(f"(seed {FOUND.get(one.name)})")]
    assert len(here) > len(MUTANTS) / 2


@pytest.mark.slow
def test_the_core_has_no_fault() -> None:
    """On the same walks the core breaks nothing, and the hash seed changes nothing."""
    root = Path(proxycore.__file__).parent.parent
    parts = [*((COMPARED, one) for one in HASH_SEEDS), (SEEDS[len(COMPARED) :], HASH_SEEDS[0])]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        told = list(pool.map(lambda part: walks(root, part[0], 0, part[1]), parts))
    assert [answer for answer in chain(*told) if answer.startswith("promise")] == []
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("promise", PROMISES)
def test_two_mutants_a_promise(promise: int) -> None:
    """No promise goes without a proof that the World would notice."""
    assert sum(mutant.promise == promise for mutant in MUTANTS) >= 2
