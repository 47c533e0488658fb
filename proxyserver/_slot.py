"""What the conductor hands out: places at runs, and what it knows of runtimes."""

from typing import Generic

import attrs

from proxycore import RunId, ServiceId

from ._run import C_co


@attrs.frozen
class Slot(Generic[C_co]):
    """A place at a run, for one request."""

    service: ServiceId
    run: RunId
    connections: C_co


@attrs.frozen
class RuntimeState:
    """Whether what runs things can be reached."""

    ok: bool
    message: str
