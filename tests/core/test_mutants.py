"""Every planted fault is found by the World alone, which names the promise; the core has none."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import proxycore

from . import walker
from .mutants import MUTANTS, Mutant

SEEDS = 400
"""About twice what the best hidden of the mutants needs."""
HASH_SEEDS = ("1", "2", "3")
SLOWEST_S = 240.0
PROMISES = range(1, 19)


def walks(root: Path, promise: int) -> str:
    """Walk with the proxycore in `root`; return what it broke, or a digest of what it did.

    Args:
        root: where proxycore is.
        promise: which breach to look for; any other is returned only if there is no such.
    """
    answers = []
    for hash_seed in HASH_SEEDS if promise == 11 else HASH_SEEDS[:1]:
        done = subprocess.run(
            [sys.executable, "-P", str(Path(walker.__file__)), str(SEEDS), str(promise)],
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=SLOWEST_S,
        )
        assert done.returncode == 0, done.stderr
        if done.stdout.startswith(f"promise {promise}:"):
            return done.stdout
        answers.append(done.stdout)
        if len(set(answers)) > 1:
            return "promise 11: another PYTHONHASHSEED brings other effects"
    return answers[0]


def plant(mutant: Mutant, root: Path) -> Path:
    """Copy the core to `root`, with one fault in it."""
    source = Path(proxycore.__file__).parent
    shutil.copytree(source, root / "proxycore", ignore=shutil.ignore_patterns("__pycache__"))
    module = root / "proxycore" / mutant.module
    text = module.read_text()
    assert text.count(mutant.old) == 1, f"the mutant does not apply any more: {mutant}"
    module.write_text(text.replace(mutant.old, mutant.new))
    return root


def caught(mutants: Sequence[Mutant], folder: Path) -> dict[Mutant, bool]:
    """Let all mutants walk side by side; tell of each whether the World says what it breaks."""

    def walk(mutant: Mutant) -> bool:
        root = folder / str(mutants.index(mutant))
        return walks(plant(mutant, root), mutant.promise).startswith(f"promise {mutant.promise}:")

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(mutants, pool.map(walk, mutants), strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Mutant], str]]:
    """All mutants walk side by side; a test asks what became of its own, and waits for it alone."""
    results: dict[Mutant, Future[str]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for mutant in MUTANTS:
            root = tmp_path_factory.mktemp("mutant")
            results[mutant] = pool.submit(lambda m=mutant, r=root: walks(plant(m, r), m.promise))  # type: ignore[misc]
        yield lambda mutant: results[mutant].result()
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.promise} {mutant.name}")
def test_the_world_finds_the_fault(mutant: Mutant, found: Callable[[Mutant], str]) -> None:
    """The World says which promise a mutant breaks."""
    assert found(mutant).startswith(f"promise {mutant.promise}:")


@pytest.mark.slow
def test_the_core_has_no_fault() -> None:
    """On the same walks the core breaks nothing, and the hash seed changes nothing."""
    answer = walks(Path(proxycore.__file__).parent.parent, promise=11)
    assert not answer.startswith("promise")


@pytest.mark.parametrize("promise", PROMISES)
def test_two_mutants_a_promise(promise: int) -> None:
    """No promise goes without a proof that the World would notice."""
    assert sum(mutant.promise == promise for mutant in MUTANTS) >= 2
