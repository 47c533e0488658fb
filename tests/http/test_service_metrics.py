"""What the servers tell Prometheus, in one text that it takes, whatever they say."""

import subprocess

import attrs
import pytest
import trio
import trio.testing
from starlette.requests import Request

from proxycore import CoreView, ServiceId, State
from proxyserver._ask import NoAnswer
from proxyserver.http._relabel import relabelled
from proxyserver.http._service_metrics import KEPT_S, SAID_MAX, WITHIN_S, ServiceMetrics

from .rig import running

A, B, C = ServiceId("a"), ServiceId("b"), ServiceId("host/c")
UP = """\
# HELP aiproxy_service_metrics_up Whether a service tells its metrics.
# TYPE aiproxy_service_metrics_up gauge
"""
ONE = b"""\
# HELP served_total Requests.
# TYPE served_total counter
served_total{model="m"} 3
# HELP load_ratio How busy.
# TYPE load_ratio gauge
load_ratio 0.5
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1.0"} 1
wait_seconds_bucket{le="+Inf"} 2
wait_seconds_sum 5
wait_seconds_count 2
"""
OTHER = b"""\
# HELP load_ratio In other words.
# TYPE load_ratio gauge
load_ratio{service="x y\\"z",b="1"} 2.0
# HELP served_total Another thing.
# TYPE served_total gauge
served_total 9
"""


def checked(text: bytes) -> str:
    """Return a text that Prometheus takes."""
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30
    )
    assert (found.returncode, found.stderr) == (0, b"")
    return text.decode()


@pytest.mark.promtool
def test_series_say_whose_they_are() -> None:
    """Each metric is described once, by who comes first; who disagrees about its type is left."""
    assert checked(relabelled({A: ONE, B: OTHER, C: None})) == UP + (
        'aiproxy_service_metrics_up{service="a"} 1.0\n'
        'aiproxy_service_metrics_up{service="b"} 1.0\n'
        'aiproxy_service_metrics_up{service="host/c"} 0.0\n'
        "# HELP served_total Requests.\n"
        "# TYPE served_total counter\n"
        'served_total{model="m",service="a"} 3.0\n'
        "# HELP load_ratio How busy.\n"
        "# TYPE load_ratio gauge\n"
        'load_ratio{service="a"} 0.5\n'
        'load_ratio{b="1",exported_service="x y\\"z",service="b"} 2.0\n'
        "# HELP wait_seconds Waits.\n"
        "# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{le="1.0",service="a"} 1.0\n'
        'wait_seconds_bucket{le="+Inf",service="a"} 2.0\n'
        'wait_seconds_sum{service="a"} 5.0\n'
        'wait_seconds_count{service="a"} 2.0\n'
    )


@pytest.mark.promtool
@pytest.mark.parametrize(
    "text",
    [
        b"<html>\n<body>no</body>",
        b"\xff\xfe",
        b'a{b="c} 1\n',
        b"a one\n",
        b"a{} 1 2 3 4\n",
        b"# TYPE a counter\n# TYPE a gauge\na 1",
        b"# TYPE a histogram\na_bucket 1\n",
        b"a 1\na 1\n",
        b"a 1\nb 1\na 2\n",
        b"aiproxy_service_metrics_up 5\n",
        b'{"a": 1}',
        b"a-b 1\n1a 2\n",
        b"\x00\n",
        b"a{" + b"{" * 100_000,
    ],
)
def test_nonsense_spoils_nothing(text: bytes) -> None:
    """Whatever one says, the text is good, and has what the others say."""
    found = relabelled({A: text, B: ONE})
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=found, capture_output=True, timeout=30
    )
    # 3: it would be written in better style.
    assert said.returncode in (0, 3), (said.stderr, found)
    assert b'served_total{model="m",service="b"} 3.0\n' in found
    assert b'aiproxy_service_metrics_up{service="b"} 1.0\n' in found
    assert found.count(b"TYPE aiproxy_service_metrics_up ") == 1
    assert found.count(b'\na{service="a"}') <= 1, "no series comes twice"


@attrs.define
class Servers:
    """Servers in any state, each with an answer, and how long that takes."""

    states: dict[ServiceId, State]
    answers: dict[ServiceId, tuple[float, int, bytes]]
    asked: list[ServiceId] = attrs.Factory(list)

    def view(self) -> CoreView:
        return CoreView(tuple(Seen(*one) for one in self.states.items()), ())  # type: ignore[misc]

    async def metrics(self, service: ServiceId, authorization: str | None) -> tuple[int, bytes]:
        self.asked.append(service)
        pause_s, status, said = self.answers[service]
        await trio.sleep(pause_s)
        if not status:
            raise NoAnswer("it hung up")
        return status, said


@attrs.frozen
class Seen:
    id: ServiceId
    state: State


@attrs.frozen
class Known:
    services: dict[ServiceId, "Told"]


@attrs.frozen
class Told:
    metrics: str | None = "/metrics"


def ups(text: bytes) -> dict[str, float]:
    """Return who tells its metrics, and who does not."""
    lines = [line for line in text.decode().splitlines() if line.startswith("aiproxy_service_")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


async def test_all_are_asked_at_once_and_none_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Only those that are ready; who is slow, or fails, is told as such; soon after, nobody is."""
    names = [ServiceId(name) for name in "abcdefgh"]
    a, b, c, d, e, f, g, h = names
    servers = Servers(
        {a: State.READY, b: State.READY, c: State.DRAINING, d: State.READY}
        | {e: State.ASLEEP, f: State.DOWN, g: State.READY, h: State.READY},
        {a: (0.9, 200, ONE), b: (WITHIN_S * 2, 200, ONE), c: (0.9, 200, ONE), d: (0.9, 500, ONE)}
        | {g: (0.0, 0, b""), h: (0.0, 200, ONE + b"#" * SAID_MAX)},
    )
    told = {name: Told() for name in names}
    shown = ServiceMetrics(servers, Known(told))
    request = Request({"type": "http"})
    answers: list[bytes] = []

    async def show() -> None:
        answers.append(bytes((await shown.show(request)).body))

    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(show)
    assert trio.current_time() - began_at == pytest.approx(WITHIN_S, abs=0.1)
    assert ups(answers[0]) == {"a": 1, "b": 0, "c": 1, "d": 0, "g": 0, "h": 0}
    assert answers == answers[:1] * 5
    assert sorted(servers.asked) == [a, b, c, d, g, h]
    await trio.sleep(KEPT_S)
    told[a] = Told(None)
    del told[b]
    await show()
    assert ups(answers[-1]) == {"c": 1, "d": 0, "g": 0, "h": 0}


async def test_what_prometheus_gets() -> None:
    """By its path, with its type, and without what the caller showed to us."""
    async with running() as rig:
        status, headers, body = await rig.get("/metrics/services", "Authorization: Bearer key")
        assert (status, b"content-type: text/plain; version=0.0.4" in headers.lower()) == (
            200,
            True,
        )
        assert b'served_total{service="coder"} 1.0\n' in body
