"""Experiments with the scheduler away from the daemon: simulations and replays of files."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from loguru import logger

from proxycore import EvictionPolicy, LocalError, journal
from proxycore.sim import Machine, least_load_s, traffic
from proxycore.sim import simulate as run_simulation

from ._amounts import in_gib
from .policies import PoliciesByName, UnknownPolicy, names, policy_named
from .settings._units import size

GZIP = b"\x1f\x8b"
DIFFERENCES_MAX = 100
TRACE_CAPACITY = "24GiB"
"""For a trace, which knows no machine."""


COLUMNS = {
    "capacity": "CAPACITY",
    "policy": "POLICY",
    "starts": "STARTS",
    "load_s": "LOAD S",
    "cold_ratio": "COLD",
    "wait_mean_s": "MEAN WAIT S",
    "wait_p95_s": "P95",
    "wait_max_s": "MAX",
    "idle_gb_hours": "IDLE GB H",
    "fairness": "FAIRNESS",
}


class LabError(Exception):
    """A file, or what was asked about it, is no good; says where and why."""


def simulate(
    path: Path,
    policies: Sequence[str],
    capacities: Sequence[str],
    *,
    seed: int = 0,
    pure: bool = False,
    checked: bool = False,
    skip_broken: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each policy on each capacity.

    Args:
        path: a trace or a journal, perhaps compressed by gzip.
        policies: names; `all` stands for all.
        capacities: sizes of each GPU; none: as in the journal.
        seed: which servers of the catalogue the services of a trace are.
        pure: nothing takes time, and each row has the least possible load as well.
        checked: check every promise at every step.
        skip_broken: go on after broken lines.
        progress: is told which simulation has come how far, from 0.0 to 1.0.

    Raises:
        LabError: what is wrong with any of that.
    """
    wanted = names() if list(policies) == ["all"] else policies
    deciders = [_policy(name.strip()) for name in wanted]
    sizes = [_size(text.strip()) for text in capacities]
    seen = _traffic(path, seed, skip_broken=skip_broken)
    machines = [seen.on(amount) for amount in sizes] or [seen]
    for machine in machines:
        gpus = [device.capacity for device in machine.config.devices if device.id != "ram"]
        least = _least(machine) if pure else None
        for decider in deciders:
            capacity = " + ".join(map(in_gib, gpus))
            report = run_simulation(
                machine,
                decider,
                machine=Machine(instant=pure),
                checked=checked,
                progress=progress and partial(progress, f"{decider.name} on {capacity}"),
            )
            row = {"capacity": capacity, "policy": decider.name}
            bound = {"load_over_least": report.load_s / least} if least else {}
            yield row | attrs.asdict(report) | bound


def replay(path: Path, policy: str | None, *, skip_broken: bool = False) -> dict[str, Any]:
    """Take the decisions of a journal again; return how often, and where they differ.

    Raises:
        LabError: what is wrong with the journal, or with the policy.
    """
    decider = None if policy is None else _policy(policy)
    broken: list[journal.JournalError] = []
    events = orders = 0
    differences: list[dict[str, Any]] = []
    with _lines(path) as lines, _located(path):
        steps = journal.replay(
            lines, decider, policies=PoliciesByName(), broken=broken if skip_broken else None
        )
        for step in steps:
            events += 1
            orders += len(step.orders)
            if step.differs and len(differences) < DIFFERENCES_MAX:
                then, now = _only(step)
                event = f"{type(step.event).__name__} at {step.now:.3f}"
                difference = {"line": step.line, "event": event, "then": then, "now": now}
                differences.append(difference)
    _warn(path, broken)
    return {"events": events, "orders": orders, "differences": differences}


def table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return rows of text, the first with the names of the columns."""
    columns = dict(COLUMNS)
    if rows and "load_over_least" in rows[0]:
        columns["load_over_least"] = "OVER LEAST"
    return [
        tuple(columns.values()),
        *(tuple(_cell(row.get(key, "-")) for key in columns) for row in rows),
    ]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def _only(step: journal.Replayed) -> tuple[list[str], list[str]]:
    """Return what was ordered then only, and what now only; all, where the order alone differs."""
    then, now = Counter(step.ordered), Counter(step.orders)
    if then == now:
        return list(step.ordered or ()), list(step.orders)
    return list((then - now).elements()), list((now - then).elements())


def _traffic(path: Path, seed: int, *, skip_broken: bool) -> traffic.Traffic:
    with _lines(path) as lines, _located(path):
        first = next(lines, "")
        if first.startswith("{"):
            broken_journal: list[journal.JournalError] = []
            found = traffic.journal_traffic(
                _again(first, lines), broken=broken_journal if skip_broken else None
            )
            _warn(path, broken_journal)
            return found
        broken: list[traffic.TraceError] = []
        requests = traffic.read_trace(_again(first, lines), broken=broken if skip_broken else None)
        _warn(path, broken)
        return traffic.drawn_traffic(requests, size(TRACE_CAPACITY), seed)


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    """Yield the lines of a text, perhaps compressed.

    Raises:
        LabError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        with gzip.open(path, "rt") if packed else path.open() as text:
            yield iter(text)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: cannot be read: {error}") from error


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Say of what is wrong in which file and line it stands.

    Raises:
        LabError: in place of the core's own errors.
    """
    try:
        yield
    except journal.JournalError as error:
        raise LabError(f"{path}:{error.line}: {error.message}") from error
    except traffic.TraceError as error:
        raise LabError(f"{path}:{error.line}: {error}") from error
    except LocalError as error:
        raise LabError(f"{path}: {error}") from error


def _warn(path: Path, broken: Sequence[journal.JournalError | traffic.TraceError]) -> None:
    for error in broken:
        message = error.message if isinstance(error, journal.JournalError) else str(error)
        logger.warning("{}:{}: left out: {}", path, error.line, message)


def _least(machine: traffic.Traffic) -> float | None:
    """Return the least possible load; None where it is not known, which is said."""
    try:
        return least_load_s(machine)
    except LocalError as error:
        logger.warning("no lower bound: {}", error)
        return None


def _policy(name: str) -> EvictionPolicy:
    try:
        return policy_named(name)
    except UnknownPolicy as error:
        raise LabError(str(error)) from error


def _size(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise LabError(f"--capacity: {error}") from error
