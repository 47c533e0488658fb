"""A core that is watched by a World while something else drives it."""

from .. import effects as fx
from .. import events as ev
from ..config import CoreConfig
from ..policy import EvictionPolicy
from .world import World

REPLAY_EVERY = 1000
"""Events between two replays of the journal, which is then begun anew: memory stays bounded."""


class CheckedCore:
    """Looks like a core; every event goes through a World, which checks every promise."""

    def __init__(
        self, config: CoreConfig, *, now: float, policy: EvictionPolicy | None = None
    ) -> None:
        self._world = World(config, now, policy=policy)

    def deadline(self) -> float | None:
        return self._world.core.deadline()

    def handle(self, event: ev.Event, now: float) -> tuple[fx.Effect, ...]:
        """Tell the World what happened.

        Raises:
            Broken: the core broke a promise.
        """
        world = self._world
        world.books.now = now
        if isinstance(event, ev.RunGone):
            world.die(world.books.runs[event.run])
        if isinstance(event, ev.RunSlept):
            world.doze(world.books.runs[event.run])
        effects = world.tell(event)
        if len(world.answers) >= REPLAY_EVERY:
            world.rotate_journal()
        return effects
