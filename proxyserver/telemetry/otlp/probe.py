"""Asks the collectors that the environment names whether they take what is sent."""

from collections.abc import Mapping

import attrs
import trio

from ._environment import Batching, EnvironmentFault, Target, target_of
from ._sender import Sender, SendFault
from .exporter import SIGNALS

ANSWER_S = 5.0
"""So long each may take at most, whatever the environment allows: somebody waits for it."""
_REFUSES = frozenset((401, 403))
_NO_SUCH_PLACE = frozenset((200, 404, 405))
"""With 200 it was a page."""


@attrs.frozen
class Probed:
    """How it goes with one signal."""

    signal: str
    message: str
    remedy: str = ""
    """What would help; empty where nothing is wrong."""


def probe(environ: Mapping[str, str]) -> tuple[Probed, ...]:
    """Send the collector of each signal an export that holds nothing, all at once.

    Returns:
        One for each signal that goes somewhere, or should; none: telemetry is off.
    """
    return trio.run(_probe, environ)


async def _probe(environ: Mapping[str, str]) -> tuple[Probed, ...]:
    found: dict[str, Probed] = {}

    async def ask(target: Target) -> None:
        found[target.signal] = await _asked(target)

    async with trio.open_nursery() as nursery:
        for signal in SIGNALS:
            try:
                target = target_of(signal, environ)
            except EnvironmentFault as fault:
                remedy = "Correct that variable: until then nothing of it is sent."
                found[signal] = Probed(signal, str(fault), remedy)
                continue
            if target is not None:
                nursery.start_soon(ask, target)
    return tuple(found[signal] for signal in SIGNALS if signal in found)


async def _asked(target: Target) -> Probed:
    sender = Sender(target, Batching(), bytes, lambda _: None)
    fault: SendFault | None = SendFault(f"no answer within {ANSWER_S:g} s")
    with trio.move_on_after(ANSWER_S):
        fault = await sender.probe()
    with trio.move_on_after(0.1, shield=True):
        await sender.close()
    if fault is None:
        return Probed(target.signal, f"taken by {target.url}")
    return Probed(target.signal, f"{target.url}: {fault.text}", _remedy(fault))


def _remedy(fault: SendFault) -> str:
    if fault.status in _REFUSES:
        return "Give it the key that it wants, in `OTEL_EXPORTER_OTLP_HEADERS`."
    if fault.status in _NO_SUCH_PLACE:
        return (
            "Correct `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector's HTTP port, usually 4318, "
            "without a path; one for a single signal is used as it is, so it ends in `/v1/...`."
        )
    if fault.status is not None:
        return "See what the collector's own log says."
    return (
        "Start the collector, or correct `OTEL_EXPORTER_OTLP_ENDPOINT` (its HTTP port, usually "
        "4318); services are served without it."
    )
