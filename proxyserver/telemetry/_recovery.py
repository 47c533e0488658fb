"""What was done about a failure, and whether it helped, each in one of few words."""

import enum

from proxyserver.http import Outcome, RequestRecord


class Action(enum.Enum):
    """What was done."""

    RESTART = "restart"
    """The service was started again: at once after a first crash, else after a pause or by hand."""
    LARGER = "larger"
    """It was started again as a larger one, after all that is idle on its GPUs had left."""
    NEW_RUN = "new_run"
    """A request whose run had ended was sent once more."""
    GIVE_UP = "give_up"
    """Nothing: it does not heal."""


class Result(enum.Enum):
    """What came of it."""

    HELPED = "helped"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """Nobody will know: it was stopped, or its client left, before that."""


_UNKNOWN = frozenset((Outcome.CLIENT_GONE, Outcome.CANCELLED))


def result_of(record: RequestRecord) -> Result:
    """Return what came of a request that was sent once more."""
    if record.outcome in _UNKNOWN:
        return Result.ABANDONED
    helped = record.outcome is Outcome.ANSWERED and (record.status or 500) < 500
    return Result.HELPED if helped else Result.FAILED
