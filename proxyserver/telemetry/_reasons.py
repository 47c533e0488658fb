"""Why a service left, in one of few words: the core tells it in sentences, for people."""

import enum

from proxycore import Changed, State


class Left(enum.Enum):
    """Why a service that could have gone on was stopped, or put to sleep."""

    ROOM = "room"
    """Another wanted its memory."""
    IDLE = "idle"
    LOW_MEMORY = "low_memory"
    """A device fell below its headroom."""
    BY_HAND = "by_hand"
    CONFIGURATION = "configuration"
    SHUTDOWN = "shutdown"
    MOVED = "moved"
    """It sleeps where it cannot wake, and is started elsewhere."""


_BEGINS = (
    ("room for ", Left.ROOM),
    ("idle", Left.IDLE),
    ("only ", Left.LOW_MEMORY),
    ("stopped by hand", Left.BY_HAND),
    ("put to sleep by hand", Left.BY_HAND),
    ("restarted by hand", Left.BY_HAND),
    ("shutdown", Left.SHUTDOWN),
    ("its configuration has changed", Left.CONFIGURATION),
    ("it was taken out of the configuration", Left.CONFIGURATION),
    ("it shall sleep in another way", Left.CONFIGURATION),
    ("there is no room any more to wake it", Left.CONFIGURATION),
    ("there is no room to wake it", Left.MOVED),
)
_COULD_GO_ON = (State.READY, State.ASLEEP)
_LEAVES = (State.DRAINING, State.SLEEPING, State.STOPPING)


def why_left(changed: Changed) -> Left | None:
    """Return why a service leaves by this change; None: it does not, or it has failed."""
    if changed.old not in _COULD_GO_ON or changed.new not in _LEAVES:
        return None
    for words, reason in _BEGINS:
        if changed.why.startswith(words):
            return reason
    return None  # The words are those of a failure.
