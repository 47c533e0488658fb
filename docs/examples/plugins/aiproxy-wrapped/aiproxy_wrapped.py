"""A runtime that starts servers by way of another command: `nice`, `taskset`, `systemd-run`."""

import shutil

import attrs

from proxycore import Cause, Placement, RunId
from proxyserver.runtime import (
    Endpoint,
    LaunchSpec,
    ProcessRuntime,
    ProcessSpec,
    RuntimeFault,
    RuntimePlace,
)
from proxyserver.shapes import Command


@attrs.frozen
class WrappedOptions:
    """What a service may say under `wrapped:`; without a default, a key is required."""

    by: Command


class WrappedRuntime(ProcessRuntime):
    """Does all as the process runtime does, but for how it starts."""

    name = "wrapped"

    async def start(self, spec: LaunchSpec, run: RunId, placement: Placement) -> Endpoint:
        """Start the wrapper, with the server's command as its last words."""
        what, options = spec.what, spec.options
        assert isinstance(what, ProcessSpec), "it takes processes"
        assert isinstance(options, WrappedOptions)
        for program in (options.by[0], what.command[0]):
            # Else the wrapper would start, and fail for a reason that only its log tells.
            if shutil.which(program) is None:
                message = f"no program {program!r}: install it, or name another"
                raise RuntimeFault(Cause("binary_missing", message, heals=False))
        wrapped = attrs.evolve(what, command=(*options.by, *what.command))
        return await super().start(attrs.evolve(spec, what=wrapped), run, placement)


class Wrapped:
    """The entry point names this class; it is made without arguments."""

    takes = "process"
    options = WrappedOptions

    def make(self, place: RuntimePlace) -> WrappedRuntime:
        """Make the runtime; it starts nothing yet."""
        return WrappedRuntime(instance=place.instance, state_dir=place.state_dir)
