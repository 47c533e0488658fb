"""Explanations as users read them: `python -m tests.decisions.stories` writes them anew."""

from collections.abc import Callable, Mapping
from pathlib import Path

from proxycore import (
    Cause,
    RequestFinished,
    RunGone,
    RunId,
    RunReady,
    ServiceId,
    Tick,
    TicketId,
)

from .playing import Played, arrived, service

CODER = ServiceId("coder")
ENDED = Cause("exit", "exit code 0")


def _swap() -> Played:
    """Chat wants the room of coder, which serves for 12 s more; tiny rests beside them."""
    played = Played(service("coder", 16, load_s=20.0), service("chat", 14), service("tiny", 1))
    played.tell(0.0, arrived(1, "tiny", 0.0))
    played.tell(2.0, RunReady(ServiceId("tiny"), RunId(1)), RequestFinished(TicketId(1)))
    played.tell(60.0, arrived(2, "coder", 60.0))
    played.tell(80.0, RunReady(CODER, RunId(2)))
    played.tell(100.0, arrived(3, "chat", 100.0))
    played.tell(112.0, RequestFinished(TicketId(2)))
    played.tell(114.0, RunGone(CODER, RunId(2), ENDED))
    played.tell(124.0, RunReady(ServiceId("chat"), RunId(3)))
    played.now = 150.0
    return played


def _waited() -> str:
    return _swap().told_of("r3")


def _stopped() -> str:
    return _swap().told(service=CODER, limit=4)


def _waits() -> str:
    played = Played(service("coder", 16, pinned=True), service("chat", 14))
    played.tell(0.0, arrived(1, "coder", 0.0))
    played.tell(20.0, RunReady(CODER, RunId(1)))
    played.tell(30.0, arrived(2, "chat", 30.0))
    played.tell(31.0, arrived(3, "chat", 31.0))
    played.now = 60.0
    return played.told_of("r3")


def _refused() -> str:
    played = Played(service("coder", 16), service("chat", 14))
    played.tell(0.0, arrived(1, "coder", 0.0))
    played.tell(20.0, RunReady(CODER, RunId(1)))
    played.tell(30.0, arrived(2, "chat", 30.0, wait_s=5.0))
    played.tell(35.0, Tick())
    return played.told_of("r2")


def _spared() -> str:
    """Two agents take turns: who is likely to come back is left its room for a moment."""
    played = Played(service("agent", 16, load_s=60.0), service("chat", 14))
    agent = ServiceId("agent")
    played.tell(0.0, arrived(1, "agent", 0.0))
    played.tell(60.0, RunReady(agent, RunId(1)))
    played.tell(70.0, RequestFinished(TicketId(1)))
    played.tell(75.0, arrived(2, "agent", 75.0))
    played.tell(80.0, RequestFinished(TicketId(2)))
    played.tell(83.0, arrived(3, "chat", 83.0))
    played.tell(90.0, Tick())
    played.now = 91.0
    return played.told_of("r3")


def _gave_up() -> str:
    played = Played(service("chat", 14))
    played.tell(0.0, arrived(1, "chat", 0.0))
    played.decisions.left(TicketId(1), 3.0)
    played.now = 86_400.0
    return played.told_of("r1")


STORIES: Mapping[str, Callable[[], str]] = {
    "gave_up": _gave_up,
    "refused": _refused,
    "spared": _spared,
    "stopped": _stopped,
    "waited": _waited,
    "waits": _waits,
}


def path_of(name: str) -> Path:
    return Path(__file__).parent / "stories" / f"{name}.txt"


if __name__ == "__main__":
    for name, tell in STORIES.items():
        path_of(name).write_text(tell() + "\n")
