"""What the shell must now do, in order, and the facts that it may write down."""

import enum
from typing import TypeAlias

import attrs

from ._ids import DeviceId, RunId, ServiceId, TicketId
from ._lifecycle import State
from .config import Placement


@attrs.frozen
class StartRun:
    """Start the service at this place.  Answer: `RunReady`, then `RunGone`, or `RunGone` alone."""

    service: ServiceId
    run: RunId
    placement: Placement
    host: RunId | None = None
    """Of a model: load it into this run."""


@attrs.frozen
class StopRun:
    """End the run politely.  Answer: `RunGone`.

    Of a model: unload it.  With a host its models end, for which nothing more is asked.
    """

    service: ServiceId
    run: RunId
    grace_s: float


@attrs.frozen
class KillRun:
    """End the run by force.  Answer: `RunGone`.  Asked again while it does not come.

    Never asked for a model: a host that does not unload one is stopped as stuck.
    """

    service: ServiceId
    run: RunId


@attrs.frozen
class SleepRun:
    """Let the run sleep.  Answer: `RunSlept`; `RunStuck` or `RunGone` if it cannot."""

    service: ServiceId
    run: RunId


@attrs.frozen
class WakeRun:
    """Wake the run.  Answer: `RunWoke`; `RunStuck` or `RunGone` if it cannot."""

    service: ServiceId
    run: RunId


@attrs.frozen
class MeasureMemory:
    """Measure these devices soon and often: a run is gone, and its memory is awaited.

    Answer: `MemoryMeasured`, again and again.
    """

    devices: tuple[DeviceId, ...]


@attrs.frozen
class Admit:
    """Send the request to this run now."""

    ticket: TicketId
    service: ServiceId
    run: RunId


@attrs.frozen
class Started:
    """Answer to `StartRequested` and `RestartRequested`: the run is ready."""

    ticket: TicketId
    service: ServiceId
    run: RunId


class Reason(enum.Enum):
    """Why a ticket was refused."""

    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    NEVER_FITS = "insufficient_resources"
    START_TIMEOUT = "start_timeout"
    SERVICE_FAILED = "service_failed"
    RUNTIME_LOST = "runtime_unavailable"
    STOPPED = "service_stopped"
    REMOVED = "service_removed"
    SHUTTING_DOWN = "shutting_down"


class Stay(enum.Enum):
    """Why one who holds room that another wants does not leave for it."""

    SERVES = "serves"
    """Somebody is served, or waits to be."""
    LOADS = "loads"
    """Somebody waits for it, or it was started by hand."""
    WANTED_SOON = "wanted_soon"
    """It is likely to be wanted again in a moment."""
    PINNED = "pinned"
    PROMISED = "promised"
    """It does not run yet, or sleeps: the room is promised to it."""
    LEAVING = "leaving"
    """It leaves already, and its room counts as free."""
    STUCK = "stuck"
    """It was told to leave and does not."""
    LOST = "lost"
    """What runs it is out of reach."""


@attrs.frozen
class Holder:
    """Who holds room that another wants, and what speaks for it."""

    service: ServiceId
    run: RunId | None
    claim: Placement
    stays: Stay | None
    """None: it may leave."""
    until_at: float | None = None
    """Of `WANTED_SOON`: it may leave from then on."""
    value: float | None = None
    """What its leaving would cost, by the policy; None: the policy was not asked."""
    load_s: float = 0.0
    requests: float = 0.0
    """As the policy sees them: `Idle.requests`."""
    idle_s: float = 0.0
    """Since when it has served nobody; 0 while it serves."""


@attrs.frozen
class Want:
    """Room that a service wants and does not have: what it needs, and who is where it could be."""

    placement: Placement
    """Of all that would do, the one that lacks least."""
    free: tuple[tuple[DeviceId, int], ...]
    """Bytes on the devices of the placement that are free, or about to be, and not promised."""
    holders: tuple[Holder, ...]
    """All who hold something on these devices."""
    patient_until: float
    """Until then who serves is left alone, and who is wanted soon; then they leave as well."""
    foreign: tuple[tuple[DeviceId, int], ...] = ()
    """Bytes of the capacity that programs hold which are none of our runs, where it is measured."""


@attrs.frozen
class Refuse:
    """Answer the ticket with an error."""

    ticket: TicketId
    service: ServiceId
    reason: Reason
    message: str
    retry_after_s: float | None = None
    """When another try may do better; None: not before somebody changes something."""
    want: Want | None = None
    """The room that it waited for in vain, if that is what it waited for."""


@attrs.frozen
class Changed:
    """Fact: a service went from one state to another."""

    service: ServiceId
    run: RunId | None
    old: State
    new: State
    why: str


@attrs.frozen
class Waiting:
    """Fact: a ticket was not answered at once."""

    ticket: TicketId
    service: ServiceId
    position: int
    """1 is next, counted within the service."""
    why: str
    state: State
    """Of the service that it waits for."""
    want: Want | None = None
    """The room that is missing, if that is what it waits for."""


@attrs.frozen
class Valued:
    """What it would cost, by the policy, to let one candidate leave."""

    service: ServiceId
    run: RunId
    value: float
    sleeps: bool = False
    """It would be put to sleep, not stopped."""


@attrs.frozen
class Explained:
    """Fact: room was made for a service: the cheapest set of candidates stops, or sleeps."""

    service: ServiceId
    placement: Placement
    """The room that is made: for a sleeping run only what it lacks."""
    victims: tuple[Valued, ...]
    spared: tuple[Valued, ...]
    want: Want
    """As it was before anybody left."""


Fact: TypeAlias = Refuse | Changed | Waiting | Explained
"""What is worth writing down: it tells why.  A refusal is an order as well."""

Effect: TypeAlias = (
    StartRun | StopRun | KillRun | SleepRun | WakeRun | MeasureMemory | Admit | Started | Fact
)
