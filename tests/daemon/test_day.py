"""A day of a public trace through a whole daemon, a minute of the day in a 24th of a second.

What is checked is what can be seen from outside: the answers, and the records of the servers.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from proxycore import ServiceId
from proxycore.sim.traffic import GB, Request, Traffic, drawn_traffic, read_trace
from tests.daemon.rig import Daemon, events, question
from tests.house.tree import ROOT

NewDaemon = Callable[..., Daemon]

TRACE = ROOT / "benchmarks/traces/servegen14_14d_seed1.csv.gz"
DAY = 8
DAY_S = 86_400.0
FASTER = 1440.0
CARD = "card"
"""No name of a GPU, so that nobody measures it: its memory is what the servers say they hold."""
CAPACITY = 32 * GB
UNLOAD_S = 2.0
IDLE_S = 2400.0
AT_ONCE_MAX = 100
"""The day waits while so many do, so that a slow machine plays it slowly, and to its end."""
SLOWEST_S = 300.0


def a_day() -> Traffic:
    """Return one day of the trace, beginning at 0, with all services of the whole trace."""
    with gzip.open(TRACE, "rt") as lines:
        requests = read_trace(lines)
    begins_at = DAY * DAY_S
    traffic = drawn_traffic(requests, CAPACITY, seed=1)
    day = (request for request in requests if 0 <= request.at - begins_at < DAY_S)
    return attrs.evolve(
        traffic,
        requests=tuple(attrs.evolve(request, at=request.at - begins_at) for request in day),
    )


def services_of(traffic: Traffic, binary: Path, record: Path) -> dict[str, Any]:
    """Return the services of a configuration: scripted servers, with times made shorter."""
    services = {}
    for spec in traffic.config.services:
        variables = {
            "HOST": "127.0.0.1",
            "PORT": "${PORT}",
            "MODEL": spec.id,
            "LOAD_MS": _ms(spec.load_s),
            "TERM_MS": _ms(UNLOAD_S),
            "RECORD": str(record),
        }
        services[str(spec.id)] = {
            "process": {"command": [str(binary)], "environment": variables},
            "memory": {"vram": {CARD: size_of(traffic, spec.id)}},
            "concurrency": spec.concurrent_max,
            "load_s": f"{spec.load_s:g}ms",
            "ready": {"path": "/health"},
        }
    return services


def size_of(traffic: Traffic, service: ServiceId) -> int:
    (spec,) = (spec for spec in traffic.config.services if spec.id == service)
    return sum(amount for _, amount in spec.placements[0].amounts)


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds / FASTER * 1000)))


async def replay(requests: Sequence[Request], url: str) -> list[tuple[ServiceId, str]]:
    """Ask each question at its time, or when the machine comes to it; return who answered which.

    Every other answer is streamed.
    """
    said: list[tuple[ServiceId, str]] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    places = trio.Semaphore(AT_ONCE_MAX)
    async with httpx.AsyncClient(base_url=url, timeout=SLOWEST_S, limits=limits) as http:

        async def ask(request: Request, stream: bool) -> None:
            answer = await http.post(
                "/v1/chat/completions",
                json=question(request.service, stream=stream),
                headers={"X-Mock": f"FIRST_MS={_ms(request.service_s)};TOKENS=2"},
            )
            places.release()
            said.append((request.service, answerer(answer, stream=stream)))

        begins_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, request in enumerate(requests):
                await trio.sleep_until(begins_at + request.at / FASTER)
                await places.acquire()
                nursery.start_soon(ask, request, number % 2 == 1)
    return said


def answerer(answer: httpx.Response, *, stream: bool) -> str:
    """Return the model that gave a whole answer, or else what came instead of one."""
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text}"
    if not stream:
        return str(answer.json()["model"])
    *chunks, last = events(answer)
    models = {str(json.loads(chunk)["model"]) for chunk in chunks}
    return "".join(sorted(models)) if last == "[DONE]" else "cut"


def check_records(record: Path, traffic: Traffic) -> Counter[str]:
    """Check by what the servers wrote that no two of one service lived at once, and all fitted.

    Returns:
        How many questions each service was asked.
    """
    alive: dict[str, str] = {}
    asked: Counter[str] = Counter()
    for line in record.read_text().splitlines():
        what, service, process, *questions = line.split()
        if what == "begin":
            assert service not in alive, f"{service} runs twice"
            alive[service] = process
            claimed = sum(size_of(traffic, ServiceId(one)) for one in alive)
            assert claimed <= CAPACITY, f"{', '.join(alive)} do not fit together"
        else:
            assert alive.pop(service) == process
            asked[service] += int(questions[0])
    assert not alive, "who ends politely says so"
    return asked


@pytest.mark.slow
async def test_a_day_of_a_trace(mock_binary: Path, new_daemon: NewDaemon, tmp_path: Path) -> None:
    """Every request has one answer, of the right service; memory is never claimed twice."""
    traffic = a_day()
    assert len(traffic.config.services) == 14
    assert len(traffic.requests) >= 2000
    record = tmp_path / "record"
    daemon = new_daemon(
        services_of(traffic, mock_binary, record),
        devices={CARD: CAPACITY},
        idle_s=IDLE_S / FASTER,
        queue_max=len(traffic.requests),
    )
    said = await replay(traffic.requests, daemon.url)
    assert Counter(said) == Counter((one.service, one.service) for one in traffic.requests)
    assert daemon.stop() == 0
    asked = check_records(record, traffic)
    assert asked == Counter(request.service for request in traffic.requests)

    (journal,) = (daemon.folder / "state").rglob("journal.jsonl")
    replayed = daemon.command("replay", str(journal), "--json", patience_s=SLOWEST_S)
    assert replayed.returncode == 0, replayed.stdout
    assert json.loads(replayed.stdout)["differences"] == []
    words = ("simulate", str(journal), "--policy", "cost_rate,lru", "--json")
    simulated = daemon.command(*words, patience_s=SLOWEST_S)
    assert simulated.returncode == 0, simulated.stderr
    rows = json.loads(simulated.stdout)
    assert [row["requests"] for row in rows] == 2 * [len(traffic.requests)]
