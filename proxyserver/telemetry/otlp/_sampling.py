"""Which traces are kept: OpenTelemetry's samplers, by their names in its environment variables."""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from proxyserver.wire import TraceParent

from ._environment import EnvironmentFault

_BITS = (1 << 64) - 1
"""Of a trace's id so many are compared with the ratio: all SDKs do so, and then agree."""
Share: TypeAlias = float


@attrs.frozen
class Sampler:
    """Keeps a share of the traces that begin here, and perhaps what its parent has decided."""

    share: Share
    by_parent: bool = True

    def keeps(self, trace: int, parent: TraceParent | None) -> bool:
        """Return whether the trace with this id is kept."""
        if parent is not None and self.by_parent:
            return parent.sampled
        return trace & _BITS < self.share * (_BITS + 1)


def sampler_of(environ: Mapping[str, str]) -> Sampler:
    """Return the sampler that the environment asks for.

    Raises:
        EnvironmentFault: there is no such one, or its argument is no share.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    kind = name.removeprefix("parentbased_")
    by_parent = kind != name
    match kind:
        case "always_on":
            return Sampler(1.0, by_parent)
        case "always_off":
            return Sampler(0.0, by_parent)
        case "traceidratio":
            return Sampler(_share(environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()), by_parent)
    raise EnvironmentFault(
        f"OTEL_TRACES_SAMPLER is {name!r}; there are always_on, always_off, traceidratio, and the"
        " same with parentbased_ before it"
    )


def _share(text: str) -> Share:
    try:
        share = float(text or 1.0)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise EnvironmentFault(f"OTEL_TRACES_SAMPLER_ARG is {text!r}; it wants a number in 0 to 1")
    return share
