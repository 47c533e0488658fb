"""One decision as a value; points in time are Unix time, memory is bytes."""

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from proxycore import DeviceId, RunId, ServiceId, State, TicketId


class Kind(enum.Enum):
    """What was decided; most are a step in the life of a service."""

    WAIT = "wait"
    ADMIT = "admit"
    REFUSE = "refuse"
    LEAVE = "leave"
    """The client left while it waited."""
    EVICT = "evict"
    RESERVE = "reserve"
    RELEASE = "release"
    START = "start"
    ADOPT = "adopt"
    READY = "ready"
    DRAIN = "drain"
    RESUME = "resume"
    SLEEP = "sleep"
    WAKE = "wake"
    STOP = "stop"
    VERIFY = "verify"
    """It ended; whether its memory is free is yet to be seen."""
    DOWN = "down"
    FAIL = "fail"
    RETRY = "retry"


_BY_STATE = {
    State.RESERVED: Kind.RESERVE,
    State.STARTING: Kind.START,
    State.READY: Kind.READY,
    State.DRAINING: Kind.DRAIN,
    State.SLEEPING: Kind.SLEEP,
    State.ASLEEP: Kind.SLEEP,
    State.ROUSING: Kind.RESERVE,
    State.WAKING: Kind.WAKE,
    State.STOPPING: Kind.STOP,
    State.VERIFYING: Kind.VERIFY,
    State.DOWN: Kind.DOWN,
    State.BACKOFF: Kind.FAIL,
    State.FAILED: Kind.FAIL,
}
_BY_STEP = {
    (State.DRAINING, State.READY): Kind.RESUME,
    (State.DOWN, State.READY): Kind.ADOPT,
    (State.DOWN, State.ASLEEP): Kind.ADOPT,
    (State.RESERVED, State.DOWN): Kind.RELEASE,
    (State.ROUSING, State.ASLEEP): Kind.RELEASE,
    (State.BACKOFF, State.DOWN): Kind.RETRY,
    (State.FAILED, State.DOWN): Kind.RETRY,
}


def kind_of(old: State, new: State) -> Kind:
    """Return what a service's step from one state to another is called."""
    return _BY_STEP.get((old, new), _BY_STATE[new])


@attrs.frozen
class Candidate:
    """Who held memory where somebody wanted some, and what became of it."""

    service: ServiceId
    run: RunId | None
    claim: Mapping[DeviceId, int]
    fate: str
    """`leaves`; `sleeps`: so that others have its room; `spared`: those who leave cost least;
    `not_enough`: nobody leaves in vain; else why it was no candidate: a `Stay` of the core."""
    why: str
    until: float | None
    """Of `wanted_soon`: when it may leave."""
    value: float | None
    load_s: float
    requests: float
    idle_s: float


@attrs.frozen
class Room:
    """What somebody needed, what there was, and who was in the way."""

    need: Mapping[DeviceId, int]
    free: Mapping[DeviceId, int]
    """Where it was needed: what was free, or about to be, and promised to nobody."""
    foreign: Mapping[DeviceId, int]
    """What programs hold there that are none of our runs, where that is measured."""
    candidates: tuple[Candidate, ...]
    patient_until: float
    """Until then who serves is left alone."""
    policy: str
    """Who valued the candidates."""


@attrs.frozen
class Decision:
    """What was decided when, about whom, and why."""

    number: int
    at: float
    kind: Kind
    service: ServiceId
    why: str
    run: RunId | None = None
    ticket: TicketId | None = None
    request: str | None = None
    """The id that its answer carries; None: it is no request, or one that nobody waits for."""
    reason: str | None = None
    """Of a refusal: the code of the error."""
    position: int | None = None
    """Of a wait: 1 is next."""
    waited_s: float | None = None
    """Of the end of a wait."""
    room: Room | None = None

    def concerns(self, service: ServiceId) -> bool:
        """Tell whether it is about a service, or makes it leave."""
        candidates = () if self.room is None else self.room.candidates
        return service == self.service or any(
            one.service == service and one.fate in ("leaves", "sleeps") for one in candidates
        )

    def as_json(self) -> dict[str, Any]:
        """Return it flat: what there is no room for in a decision is null."""
        told = attrs.asdict(self)
        room = told.pop("room") or dict.fromkeys(field.name for field in attrs.fields(Room))
        return {**told, "kind": self.kind.value, **room}
