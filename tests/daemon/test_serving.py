"""A request starts what it needs, and gets an honest answer, whatever happens behind it."""

import time
from collections.abc import Callable

import httpx
import pytest

from tests.daemon.rig import Daemon, Flavour, events, text_of, wait_until

NewDaemon = Callable[..., Daemon]
HALF = {"ram": "1200MiB"}
"""Two such services do not fit together."""


def test_starts_on_demand_and_streams_token_by_token(
    flavour: Flavour, new_daemon: NewDaemon
) -> None:
    daemon = new_daemon({"a": flavour.mock({"TOKEN_MS": "50"})}, **flavour.server)
    assert daemon.state("a") == "down"
    with daemon.stream("a") as answer:
        assert answer.status_code == 200
        arrivals = []
        chunks = []
        for chunk in events(answer):
            arrivals.append(time.monotonic())
            chunks.append(chunk)
    assert text_of(iter(chunks)).startswith("Once upon a time")
    assert chunks[-1] == "[DONE]"
    # The server takes 350 ms for its tokens: what came at once at the end was not streamed.
    assert arrivals[-1] - arrivals[0] > 0.2
    assert daemon.state("a") == "ready"


def test_one_makes_room_for_the_other(flavour: Flavour, new_daemon: NewDaemon) -> None:
    services = {
        name: {**flavour.mock({"MODEL": name}), "memory": HALF, "aliases": [f"{name}-alias"]}
        for name in ("a", "b")
    }
    daemon = new_daemon(services, **flavour.server)
    for name in ("a", "b", "a"):
        assert daemon.chat(f"{name}-alias").json()["model"] == name
    assert (daemon.state("a"), daemon.state("b")) == ("ready", "down")


def test_an_idle_service_stops(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": {**flavour.mock({}), "idle_s": 0.2}}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    wait_until("the idle stop", lambda: daemon.state("a") == "down")
    assert daemon.service("a")["why"] == "idle"


def test_a_death_in_mid_stream_is_no_clean_end(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
    with (
        daemon.stream("a", "?CRASH_AT_TOKEN=4") as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        for _ in events(answer):
            pass
    # It had worked before, so the next request gets a fresh one at once.
    assert daemon.chat("a").status_code == 200


def test_a_client_that_leaves_ends_the_work(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({"TOKENS": "500", "TOKEN_MS": "20"})}, **flavour.server)
    with daemon.stream("a") as answer:
        next(events(answer))
    wait_until(
        "the server's word that its client left",
        lambda: "client" in daemon.get("/api/v1/service/a/logs").text.splitlines()[-1],
    )
    wait_until("a free place", lambda: daemon.service("a")["in_flight"] == 0)


def test_a_failed_load_tells_why(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({"LOAD_OOM": "1"})}, **flavour.server)
    answer = daemon.chat("a")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "service_failed")
    assert "memory" in error["message"]
    assert int(answer.headers["retry-after"]) in range(1, 11)
    assert daemon.state("a") == "backoff"
    report = daemon.get("/api/v1/container/a").json()["exit"]
    assert report["cause"]["kind"] == "gpu_oom"
    assert report["exit_code"] == 1
    assert any("out of memory" in line for line in report["log_tail"])


def test_any_path_and_method_passes(flavour: Flavour, new_daemon: NewDaemon) -> None:
    daemon = new_daemon({"a": flavour.mock({})}, **flavour.server)
    answer = daemon.request(
        "PATCH", "/service/a/mock/echo?x=%2F&y=1", content=b"\x00body", headers={"X-Own": "1"}
    )
    head, _, body = answer.content.partition(b"\r\n\r\n")
    assert head.startswith(b"PATCH /mock/echo?x=%2F&y=1 HTTP/1.1")
    assert b"x-own: 1" in head.lower()
    assert body == b"\x00body"


def test_a_server_that_ignores_the_stop_signal_is_killed(
    flavour: Flavour, new_daemon: NewDaemon
) -> None:
    service = {**flavour.mock({"IGNORE_TERM": "1"}), "grace_s": 1}
    daemon = new_daemon({"a": service}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    assert daemon.command("stop", "a").returncode == 0
    assert daemon.state("a") == "down"


def test_a_server_that_stops_answering_is_replaced(flavour: Flavour, new_daemon: NewDaemon) -> None:
    live = {"path": "/health", "every_s": 0.1, "timeout_s": 0.1}
    daemon = new_daemon({"a": {**flavour.mock({}), "live": live}}, **flavour.server)
    assert daemon.chat("a").status_code == 200
    daemon.get("/service/a/mock/unhealthy")
    wait_until("its end", lambda: daemon.state("a") == "down")
    assert daemon.chat("a").status_code == 200
    assert daemon.service("a")["run"] == 2


def test_who_streams_is_alive_however_slow_its_probe(
    flavour: Flavour, new_daemon: NewDaemon
) -> None:
    """Nor is it ended before its last token; once it says nothing to anybody, it is stuck."""
    live = {"every_s": 0.1, "timeout_s": 0.2}
    mock = flavour.mock({"TOKENS": "60", "TOKEN_MS": "50"})
    daemon = new_daemon({"a": {**mock, "live": live}}, **flavour.server)
    with daemon.stream("a", max_tokens=60) as answer:
        chunks = events(answer)
        next(chunks)
        assert daemon.get("/service/a/mock/unhealthy").status_code == 200
        began_at = time.monotonic()
        assert [*chunks][-1] == "[DONE]"
    assert time.monotonic() - began_at > 2.0  # Three probes take less than one.
    assert daemon.service("a")["failures"] == 0
    wait_until("the end of the run", lambda: daemon.service("a")["failures"] == 1)
    assert daemon.service("a")["cause"]["kind"] == "stuck"
