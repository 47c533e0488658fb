"""How much later than the server itself the proxy finds that it is ready."""

import re
import statistics
import time

import attrs

from tests.daemon.rig import Daemon

from ._http import NoAnswer, Question, wait_answering
from ._subjects import Subject

REPETITIONS = 15
SERVICES = 5
PORT_EVERY_S = 0.02


@attrs.frozen
class Readiness:
    """What came of one subject; times in milliseconds, medians but for the worst."""

    name: str
    own_ms: float
    """From the request to the server's own readiness."""
    added_ms: float
    """From there to the first byte of the answer to the request that waited."""
    worst_ms: float


def measure(subject: Subject) -> Readiness:
    """Start services by a request, time after time, and watch their servers meanwhile."""
    own, added = [], []
    services = {f"s{number}": subject.service(number) for number in range(SERVICES)}
    with subject.daemon(services) as daemon:
        for repetition in range(REPETITIONS):
            one_own, one_added = _once(daemon, f"s{repetition % SERVICES}")
            own.append(one_own)
            added.append(one_added)
    return Readiness(subject.name, statistics.median(own), statistics.median(added), max(added))


def _once(daemon: Daemon, service: str) -> tuple[float, float]:
    """Return how long the server took to be ready, and how long the proxy after that."""
    proxy = int(daemon.url.rpartition(":")[2])
    asked_at = time.monotonic()
    waiting = Question(proxy, f"/service/{service}/health")
    port = _port_of(proxy, service)
    ready_at = wait_answering(port, "/health")
    answered_at = waiting.first_byte_at()
    if ready_at is None:
        raise NoAnswer(f"{service} was ready before we could watch it: give it a longer load")
    Question(proxy, f"/api/v1/service/{service}/stop", method="POST").json()
    return (ready_at - asked_at) * 1000, (answered_at - ready_at) * 1000


def _port_of(proxy: int, service: str) -> int:
    """Ask the proxy where the server of a service that starts will listen."""
    while True:
        for text in Question(proxy, f"/api/v1/container/{service}").json().get("ports") or ():
            if (found := re.match(r"127\.0\.0\.1:(\d+)", text)) is not None:
                return int(found[1])
        time.sleep(PORT_EVERY_S)
