"""How far a run came on its way to ready, and when: what a start spent its time on."""

import attrs


@attrs.frozen
class Milestones:
    """Points in time, on Trio's clock; None: not yet, or it is not known."""

    placed_at: float | None = None
    """It is there: the container is created and runs, the process is spawned."""
    answered_at: float | None = None
    """It has answered a probe for the first time, be it with no."""
    inside: bool = False
    """It is a model in a server: nothing is created, and it is loaded from the beginning."""
