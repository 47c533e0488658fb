"""How much longer a swap takes through the proxy than by hand."""

import os
import statistics
import time

import attrs

from proxycore import ServiceId
from proxyserver import settings
from proxyserver.runtime import LaunchSpec
from tests.daemon.rig import question

from ._by_hand import Server, Starter, starter
from ._http import Question, wait_answering
from ._subjects import Subject

REPETITIONS = 15
PAUSE_S = 0.002
"""Between two probes by hand: asked much faster, a server loads slower on few cores."""
QUIET_S = 0.1
"""Between two measurements: what the one before left to do shall not disturb the next."""


@attrs.frozen
class Swap:
    """What came of one subject; medians in milliseconds."""

    name: str
    stop_ms: float
    start_ms: float
    """From the command to a server that says it is ready: the engine's part and the load."""
    by_hand_ms: float
    """Stop, start and the first byte of an answer."""
    by_proxy_ms: float
    """From the request to the first byte of its answer."""
    added_ms: float
    """The median of the differences of neighbours, not the difference of medians."""


def measure(subject: Subject) -> Swap:
    """Let two services take turns, through the proxy and by hand, one after the other."""
    services = {name: subject.service(0) for name in "ab"}
    with (
        subject.daemon(services) as daemon,
        starter(subject.docker_host) as start,
    ):
        loaded = settings.load(daemon.folder / "aiproxy.yaml", os.environ)
        launches = [loaded.services[ServiceId(name)].launch for name in "ab"]
        proxy = int(daemon.url.rpartition(":")[2])
        hand = _Hand(start, launches[0])
        _ask(proxy, "a")
        by_proxy, by_hand = [], []
        try:
            for repetition in range(1, REPETITIONS + 1):
                turn = repetition % 2
                time.sleep(QUIET_S)
                began_at = time.monotonic()
                by_proxy.append((_ask(proxy, "ab"[turn]) - began_at) * 1000)
                time.sleep(QUIET_S)
                by_hand.append(hand.swap(launches[turn]))
        finally:
            hand.end()
    return Swap(
        subject.name,
        stop_ms=statistics.median(one[0] for one in by_hand),
        start_ms=statistics.median(one[1] for one in by_hand),
        by_hand_ms=statistics.median(sum(one) for one in by_hand),
        by_proxy_ms=statistics.median(by_proxy),
        added_ms=statistics.median(
            proxied - sum(manual) for proxied, manual in zip(by_proxy, by_hand, strict=True)
        ),
    )


class _Hand:
    """Does by hand what the proxy does: one server at a time, the next in its place."""

    def __init__(self, start: Starter, launch: LaunchSpec) -> None:
        self._start = start
        self._server: Server = start(launch)
        wait_answering(self._server.port, launch.ready.path, PAUSE_S)
        _ask(self._server.port, "a")

    def swap(self, launch: LaunchSpec) -> tuple[float, float, float]:
        """Return the milliseconds of the stop, the start and the answer."""
        old = self._server
        began_at = time.monotonic()
        old.stop()
        stopped_at = time.monotonic()
        self._server = self._start(launch)
        wait_answering(self._server.port, launch.ready.path, PAUSE_S)
        ready_at = time.monotonic()
        answered_at = _ask(self._server.port, launch.service)
        old.remove()
        return (
            (stopped_at - began_at) * 1000,
            (ready_at - stopped_at) * 1000,
            (answered_at - ready_at) * 1000,
        )

    def end(self) -> None:
        self._server.stop()
        self._server.remove()


def _ask(port: int, model: str) -> float:
    """Ask for a streamed answer of one token; return when its first byte came."""
    body = question(model, stream=True, max_tokens=1)
    return Question(port, "/v1/chat/completions", body, "POST").first_byte_at()
