"""Where the data path is measured: targets on one processor, clients and upstream on another."""

import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from ._load import Load, LoadFailed, Upstream, build_programs, upstream
from ._targets import Runner, Target

DIRECT = "direct"
"""No proxy: the clients speak with the upstream."""


@attrs.define
class Samples:
    """What was measured of each target, round by round."""

    _values: dict[tuple[str, str], list[float]] = attrs.field(factory=dict)

    def add(self, target: str, **values: float) -> None:
        for key, value in values.items():
            self._values.setdefault((target, key), []).append(value)

    def median(self, target: str, key: str) -> float:
        """Return the median of the rounds; NaN: it was not measured."""
        values = self._values.get((target, key))
        return statistics.median(values) if values else float("nan")

    def over(self, target: str, other: str, key: str) -> float:
        return self.median(target, key) / self.median(other, key)


@attrs.frozen
class Ground:
    """All that a measurement needs."""

    load: Load
    upstream: Upstream
    targets: Mapping[str, Target]
    target_processor: int
    samples: Samples = attrs.field(factory=Samples)

    def port(self, name: str) -> int:
        return self.upstream.port if name == DIRECT else self.targets[name].port

    def rounds(self, names: Sequence[str], times: int) -> Iterator[str]:
        """Yield the names so many times each, in random order: neighbours share the weather."""
        for _ in range(times):
            yield from random.sample(names, len(names))

    def across(self, name: str) -> Load:
        """Return clients for large bodies, which cross from one processor to the other anyhow."""
        here = name == DIRECT
        return attrs.evolve(self.load, processor=self.target_processor) if here else self.load

    @contextmanager
    def one_processor(self, name: str) -> Iterator[None]:
        """Put a target where its clients are, for the block."""
        if name == DIRECT:
            yield
            return
        self.targets[name].pin(self.load.processor)
        try:
            yield
        finally:
            self.targets[name].pin(self.target_processor)


@contextmanager
def ground(runners: Mapping[str, Runner]) -> Iterator[Ground]:
    """Start everything, and put it in its place.

    Raises:
        CompilerMissing: there is no C compiler.
        ReferenceMissing: a proxy to compare with is not installed.
    """
    processors = sorted(os.sched_getaffinity(0))
    target_processor, other = processors[0], processors[-1]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiproxy-datapath-")))
        load_program, upstream_program = build_programs(folder)
        behind = stack.enter_context(upstream(upstream_program, folder, other))
        load = Load(load_program, other)
        targets = {}
        for name, run in runners.items():
            (folder / name).mkdir()
            targets[name] = stack.enter_context(run(behind, folder / name))
            targets[name].pin(target_processor)
        yield Ground(load, behind, targets, target_processor)


@contextmanager
def fresh(ground: Ground, name: str, run: Runner) -> Iterator[Target]:
    """Run one more target, which has done nothing yet."""
    with (
        tempfile.TemporaryDirectory(prefix="aiproxy-datapath-") as folder,
        run(ground.upstream, Path(folder)) as target,
    ):
        target.pin(ground.target_processor)
        yield target


def checked(name: str, numbers: Mapping[str, float]) -> Mapping[str, float]:
    """Return the numbers.

    Raises:
        LoadFailed: answers broke.
    """
    if numbers["broken"]:
        raise LoadFailed(f"{name}: {numbers['broken']:.0f} answers broke")
    return numbers


Probe = Callable[[int], bool]


def largest(rungs: Sequence[int], holds: Probe) -> int:
    """Return the largest of the rungs that holds, 0 if none does; what is held is held below.

    >>> largest((10, 20, 30, 40), lambda rung: rung <= 30)
    30
    """
    low, high = 0, len(rungs)
    while low < high:
        middle = (low + high) // 2
        if holds(rungs[middle]):
            low = middle + 1
        else:
            high = middle
    return rungs[low - 1] if low else 0
