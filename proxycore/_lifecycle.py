"""The life of one service, as a table: every state, every step, and nothing else.

Theory of operation
===================

A service has at most one run at a time.  The table tells which states follow which; *when* a step
is taken is the core's business (`_core.py`), and only there.  Rule 1: everything that moves a
service from one state to another goes through `advance`.

    DOWN        nothing runs, nothing is claimed
    RESERVED    room is promised; victims may still be leaving
    STARTING    the run exists, holds its claim and does not answer yet
    READY       the run answers; requests are admitted
    DRAINING    the run answers what it has, and gets nothing new
    STOPPING    the run was told to end; its claim stays until it is gone
    VERIFYING   the run is gone, its memory not yet seen free
    SLEEPING    the run was told to give memory back, and holds its claim until it says that it did
    ASLEEP      the run lives and holds a residue; it answers nothing until it is awake
    ROUSING     asleep, and the room that it lacks is promised; victims may still be leaving
    WAKING      the run was told to wake, holds its claim again and does not answer yet
    BACKOFF     the last run failed; the next may start when the time is over
    FAILED      the last run failed in a way that does not heal; a person must act

What each state waits for, and the deadline that ends the wait (none waits for ever):

    RESERVED    victims leaving              released when nobody waits, or the room does not come
    STARTING    RunReady or RunGone          start_s, extended by RunAlive, at most start_max_s
    READY       requests, or idleness        idle_s, counted from ready or from the last finish
    DRAINING    its requests                 drain_s, then they are cut, or it is ready again
    SLEEPING    RunSlept, then its memory    a minute, then it has failed; 5 s for its memory
    ASLEEP      requests, or idleness        idle_s once more, then it is stopped
    ROUSING     victims leaving              asleep again when nobody waits, or no room comes
    WAKING      RunWoke or RunGone           as STARTING; then it is stopped as having failed
    STOPPING    RunGone                      grace_s and some; then KillRun, again and again
    VERIFYING   MemoryMeasured, as it should 5 s; what is missing then counts as a stranger's
    BACKOFF     time                         10 s, doubled at each failure, at most 300 s

The table does not show that a service with waiting tickets leaves DOWN and ASLEEP by itself as
soon as there is room, nor that claims are counted from STARTING to the end of VERIFYING
(`HOLDING`), in full but for ASLEEP and ROUSING, which claim what a sleeping run still holds.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from ._errors import InvariantError


class State(enum.Enum):
    """Where a service is in its life."""

    DOWN = "down"
    RESERVED = "reserved"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    ASLEEP = "asleep"
    ROUSING = "rousing"
    WAKING = "waking"
    STOPPING = "stopping"
    VERIFYING = "verifying"
    BACKOFF = "backoff"
    FAILED = "failed"


class Step(enum.Enum):
    """What moves a service on."""

    RESERVE = "reserve"
    RELEASE = "release"
    LAUNCH = "launch"
    ADOPT = "adopt"
    ADOPT_ASLEEP = "adopt asleep"
    READY = "ready"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    SLEEP = "sleep"
    SLEPT = "slept"
    WAKE = "wake"
    WOKE = "woke"
    STOP = "stop"
    VERIFY = "verify"
    GONE = "gone"
    BACK_OFF = "back off"
    FAIL = "fail"
    RETRY = "retry"


_ENDS: Mapping[Step, State] = {
    Step.VERIFY: State.VERIFYING,
    Step.GONE: State.DOWN,
    Step.BACK_OFF: State.BACKOFF,
    Step.FAIL: State.FAILED,
}
"""A run may end at any time, asked or not."""

TABLE: Mapping[State, Mapping[Step, State]] = MappingProxyType(
    {
        State.DOWN: {
            Step.RESERVE: State.RESERVED,
            Step.ADOPT: State.READY,
            Step.ADOPT_ASLEEP: State.ASLEEP,
        },
        State.RESERVED: {Step.LAUNCH: State.STARTING, Step.RELEASE: State.DOWN},
        State.STARTING: {Step.READY: State.READY, Step.STOP: State.STOPPING, **_ENDS},
        State.READY: {
            Step.DRAIN: State.DRAINING,
            Step.SLEEP: State.SLEEPING,
            Step.STOP: State.STOPPING,
            **_ENDS,
        },
        State.DRAINING: {
            Step.UNDRAIN: State.READY,
            Step.SLEEP: State.SLEEPING,
            Step.STOP: State.STOPPING,
            **_ENDS,
        },
        State.SLEEPING: {Step.SLEPT: State.ASLEEP, Step.STOP: State.STOPPING, **_ENDS},
        State.ASLEEP: {Step.RESERVE: State.ROUSING, Step.STOP: State.STOPPING, **_ENDS},
        State.ROUSING: {
            Step.WAKE: State.WAKING,
            Step.RELEASE: State.ASLEEP,
            Step.STOP: State.STOPPING,
            **_ENDS,
        },
        State.WAKING: {Step.WOKE: State.READY, Step.STOP: State.STOPPING, **_ENDS},
        State.STOPPING: _ENDS,
        State.VERIFYING: {
            Step.GONE: State.DOWN,
            Step.BACK_OFF: State.BACKOFF,
            Step.FAIL: State.FAILED,
        },
        State.BACKOFF: {Step.RETRY: State.DOWN},
        State.FAILED: {Step.RETRY: State.DOWN},
    }
)

HOLDING = frozenset(
    {
        State.STARTING,
        State.READY,
        State.DRAINING,
        State.SLEEPING,
        State.ASLEEP,
        State.ROUSING,
        State.WAKING,
        State.STOPPING,
        State.VERIFYING,
    }
)
"""The states in which a run has memory.  For membership tests only: a set has no order."""


def advance(state: State, step: Step) -> State:
    """Return the state that follows.

    Raises:
        InvariantError: the table has no such step; nothing happened.
    """
    try:
        return TABLE[state][step]
    except KeyError:
        raise InvariantError(f"no step {step.name} from state {state.name}") from None
