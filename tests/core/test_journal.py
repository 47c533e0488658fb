"""A journal holds what was ordered, so that a replay can say where it differs."""

import json

import pytest

from proxycore import (
    POLICIES,
    RAM,
    Core,
    MemoryMeasured,
    RequestFinished,
    RunGone,
    RunId,
    RunReady,
    ServiceId,
    StopRequested,
    TicketId,
    journal,
)
from proxycore.events import Cause, Event

from .shapes import CHAT, CODER, EXIT, T0, arrived, big, machine, small

EVENTS: tuple[tuple[float, Event], ...] = (
    (T0, arrived(1, CODER)),
    (T0 + 3, RunReady(CODER, 1)),  # type: ignore[arg-type]
    (T0 + 9, RequestFinished(TicketId(1))),
    (T0 + 20, arrived(2, CHAT, at=T0 + 20)),
    (T0 + 22, RunGone(CODER, 1, EXIT)),  # type: ignore[arg-type]
    (T0 + 25, RunReady(CHAT, 2)),  # type: ignore[arg-type]
)
ORDERS = (
    ("start coder#1 on gpu0 16",),
    ("admit 1 to coder#1",),
    (),
    ("stop coder#1",),
    ("start chat#2 on gpu0 14",),
    ("admit 2 to chat#2",),
)


def written(*, policy: str = "cost_rate") -> list[str]:
    """Return the journal of two services that take turns."""
    core = Core(machine(big(), small()), now=T0, policy=POLICIES[policy])
    lines = [journal.head(core)]
    for now, event in EVENTS:
        lines.append(journal.entry(now, event))
        if (line := journal.ordered(core.handle(event, now))) is not None:
            lines.append(line)
    return lines


def test_a_replay_gives_the_same_orders() -> None:
    """Each event has the orders that it had, where there were any."""
    steps = list(journal.replay(written()))
    assert [(step.now, step.event) for step in steps] == list(EVENTS)
    assert tuple(step.ordered for step in steps) == ORDERS
    assert not any(step.differs for step in steps)


def test_a_difference_is_seen_where_it_begins() -> None:
    """What the journal says and what the core says stand side by side."""
    lines = [line.replace("stop coder#1", "stop chat#9") for line in written()]
    [differs] = [step for step in journal.replay(lines) if step.differs]
    assert lines[differs.line - 1] == journal.entry(*EVENTS[3])
    assert (differs.ordered, differs.orders) == (("stop chat#9",), ("stop coder#1",))


def test_an_order_that_is_missing_is_a_difference() -> None:
    """Unless the journal ends there: it was cut off before it could say."""
    lines = written()
    admit = lines.index(journal.entry(*EVENTS[1])) + 1
    steps = list(journal.replay([*lines[:admit], *lines[admit + 1 :]]))
    assert [step.differs for step in steps] == [False, True, False, False, False, False]
    assert [step.ordered for step in journal.replay(lines[:-1])][-1] is None


def test_a_journal_names_its_policy() -> None:
    """It decides again, unless another one is asked for."""
    lines = written(policy="lru")
    assert json.loads(lines[0])["policy"] == "lru"
    assert len(list(journal.replay(lines))) == len(EVENTS)
    with pytest.raises(journal.JournalError, match="line 1: policy 'lru' is not known here"):
        list(journal.replay(lines, policies={}))
    assert len(list(journal.replay(lines, POLICIES["lfu"], policies={}))) == len(EVENTS)


@pytest.mark.parametrize("line", ["{}\n", "what\n", '{"ordered":7}\n', '{"now":1,"Tick":{}}\n'])
def test_a_broken_line_is_told_by_its_number(line: str) -> None:
    """The replay ends there, or goes on when told so."""
    lines = written()
    lines.insert(3, line)
    with pytest.raises(journal.JournalError) as caught:
        list(journal.replay(lines))
    assert caught.value.line == 4
    broken: list[journal.JournalError] = []
    assert [step.event for step in journal.replay(lines, broken=broken)] == [
        event for _, event in EVENTS
    ]
    assert [error.line for error in broken] == [4]


@pytest.mark.parametrize(
    "event",
    [
        arrived(3, ServiceId('quoted "so"\n\u00e9')),
        RunGone(CODER, RunId(1), Cause("exit", "\\ 1", heals=False)),
        StopRequested(CODER, force=True),
        MemoryMeasured(RAM, 32, 7, ((RunId(1), 5),)),
    ],
)
def test_a_line_is_json_of_one_event(event: Event) -> None:
    """Whatever is in it; and it is read as what it was."""
    line = journal.entry(T0 / 7, event)
    named = {"now": T0 / 7, type(event).__name__: journal._plain(event)}
    assert (json.loads(line), line[-1]) == (named, "\n")
    assert journal._event(json.loads(line)) == (T0 / 7, event)


def test_a_time_that_is_none_is_not_written() -> None:
    """JSON has no word for it."""
    with pytest.raises(ValueError, match="JSON"):
        journal.entry(T0, arrived(3, CODER, wait_s=float("inf")))
