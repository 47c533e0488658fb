"""What can happen.  The shell tells the core, with the time; the core never asks."""

from typing import TypeAlias

import attrs

from ._ids import DeviceId, RunId, ServiceId, TicketId
from ._learn import Experience
from .config import CoreConfig, Placement


@attrs.frozen
class Cause:
    """Why a run is gone, in words that a user can act on."""

    kind: str
    """A short class, for counting: `exit`, `gpu_oom`, `model_missing`, `port_in_use` ..."""
    message: str
    heals: bool = True
    """False: trying again cannot help until somebody changes something (a missing model)."""
    out_of_memory: bool = False
    """True: it wanted more memory than was there, so its claim was too small."""


@attrs.frozen
class RequestArrived:
    """A client wants `service`.  Answered once, by `Admit` or `Refuse`."""

    ticket: TicketId
    service: ServiceId
    deadline_at: float
    """When the wait for an answer ends; the stream that follows may be longer."""


@attrs.frozen
class RequestFinished:
    """The request is over: answered in full, broken, or the client left, waiting or streaming."""

    ticket: TicketId


@attrs.frozen
class StartRequested:
    """Somebody wants the service to run.  Answered once, by `Started` or `Refuse`.

    Forgets earlier failures.  The load goes on even when nobody waits for it any more.
    """

    ticket: TicketId
    service: ServiceId
    deadline_at: float


@attrs.frozen
class RestartRequested:
    """As `StartRequested`, by a fresh run: what runs now is drained and stopped first."""

    ticket: TicketId
    service: ServiceId
    deadline_at: float


@attrs.frozen
class StopRequested:
    """Somebody wants the service stopped: who waits is refused, who streams may finish."""

    service: ServiceId
    force: bool = False
    """Cut running requests instead of waiting up to `drain_s`."""


@attrs.frozen
class SleepRequested:
    """Somebody wants the run to sleep, once it has served who streams; it must be able to.

    Who waits, or comes, wakes it again.  Where nothing is awake, nothing changes.
    """

    service: ServiceId


@attrs.frozen
class ShutdownRequested:
    """Stop everything: who waits is refused, who streams may finish until `deadline_at`."""

    deadline_at: float


@attrs.frozen
class RunAlive:
    """A starting or waking run showed a sign of life, so that may take longer."""

    service: ServiceId
    run: RunId


@attrs.frozen
class RunReady:
    """The run answers requests."""

    service: ServiceId
    run: RunId


@attrs.frozen
class RunSlept:
    """The run is asleep, and has given back what a sleeping run does not hold."""

    service: ServiceId
    run: RunId
    holds: int | None = None
    """Bytes that it holds of each of its GPUs at most, as it says itself; None: it does not say."""


@attrs.frozen
class RunWoke:
    """The run is awake and answers requests again."""

    service: ServiceId
    run: RunId


@attrs.frozen
class RunStuck:
    """The run still lives, yet has stopped answering its probe, or fails to sleep or to wake."""

    service: ServiceId
    run: RunId
    cause: Cause


@attrs.frozen
class RunGone:
    """Nothing is left of the run.  Told once a run, whoever ended it.

    With the run of a host its models are gone too; of those nothing is told any more.
    """

    service: ServiceId
    run: RunId
    cause: Cause


@attrs.frozen
class FoundRun:
    """A run of an earlier life of the daemon: unchanged and healthy, so worth keeping.

    A model that is loaded in a kept host is found as well; a host that is kept holds no others.
    """

    service: ServiceId
    run: RunId
    placement: Placement
    """What it claims awake."""
    asleep: bool = False


@attrs.frozen
class RunsFound:
    """What an earlier life of the daemon left running.  Told before any request."""

    found: tuple[FoundRun, ...]
    run_max: RunId
    """The highest run number ever seen: the next one is higher."""


@attrs.frozen
class RuntimeLost:
    """What runs these services cannot be reached: nothing can be started or stopped."""

    services: tuple[ServiceId, ...]
    message: str


@attrs.frozen
class RuntimeFound:
    """What runs these services is back."""

    services: tuple[ServiceId, ...]


@attrs.frozen
class MemoryMeasured:
    """The memory of one device, in bytes.  Told whenever it has changed; trusted until then."""

    device: DeviceId
    total: int
    free: int
    by_run: tuple[tuple[RunId, int], ...]
    """What our runs hold, as far as it is known."""
    complete: bool = True
    """Whether a run that is not in `by_run` holds nothing; False: of some it is not known."""


@attrs.frozen
class MemoryUnknown:
    """These devices cannot be measured any more: what was measured is forgotten."""

    devices: tuple[DeviceId, ...]


@attrs.frozen
class ExperienceFound:
    """What earlier lives of the daemon have learnt of services.  Told before any request."""

    experiences: tuple[tuple[ServiceId, Experience], ...]


@attrs.frozen
class ConfigReplaced:
    """From now on another configuration is in force; `ConfigDiff` tells what that means.

    Who is the same in both is not touched.  A service that is started in another way drains, and
    starts anew for who wants it; one that is left out refuses who waits, drains, and is forgotten
    once it is gone.
    """

    config: CoreConfig


@attrs.frozen
class Tick:
    """Nothing, but the time: `Core.deadline` has come."""


RunEvent: TypeAlias = RunAlive | RunReady | RunSlept | RunWoke | RunStuck | RunGone
"""What the task of a run tells."""

Event: TypeAlias = (
    RequestArrived
    | RequestFinished
    | StartRequested
    | RestartRequested
    | StopRequested
    | SleepRequested
    | ShutdownRequested
    | RunEvent
    | RunsFound
    | RuntimeLost
    | RuntimeFound
    | MemoryMeasured
    | MemoryUnknown
    | ExperienceFound
    | ConfigReplaced
    | Tick
)
