"""The management API tells what is, and does what it is told."""

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from proxycore import (
    RAM,
    Cause,
    Changed,
    DeviceId,
    Reason,
    RunId,
    ServiceId,
    State,
    Stay,
    TicketId,
    Waiting,
)
from proxyserver.decisions import Candidate, Decision, Kind, Room
from proxyserver.gauges import Health, Measurement
from proxyserver.http import Outcome
from proxyserver.refused import Refused
from proxyserver.runtime import ExitReport

from .rig import Rig, RuntimeState, raw, running

GPU0 = DeviceId("gpu0")
PAGE = (Path(__file__).parents[2] / "docs/reference/http-api.md").read_text()


async def ask(rig: Rig, path: str, method: str = "GET", *headers: str) -> tuple[int, Any]:
    status, _, body = await rig.get(path, *headers, method=method)
    return status, json.loads(body)


async def test_models_are_listed_without_starting_anything() -> None:
    """From the configuration, at once, in OpenAI's shape."""
    async with running() as rig:
        rig.conductor.hold = trio.Event()
        status, models = await ask(rig, "/v1/models")
        assert rig.conductor.asked == []
    assert (status, models["object"]) == (200, "list")
    assert {model["object"] for model in models["data"]} == {"model"}
    assert {model["id"]: model["owned_by"] for model in models["data"]} == {
        "coder": "coder",
        "gpt-4o": "coder",
        "many": "many",
        "many/tiny": "many/tiny",
        "tiny": "many/tiny",
        "small": "many/tiny",
    }


async def test_services_are_shown() -> None:
    """Each with its state, for how long, and how far it is."""
    async with running() as rig:
        rig.conductor.loading["coder"] = 0.5
        status, shown = await ask(rig, "/api/v1/services")
    first = shown["services"][0]
    assert status == 200
    assert 5 <= first.pop("for_s") < 60
    assert first == {
        "id": "coder",
        "host": None,
        "type": "custom",
        "runtime": "process",
        "state": "ready",
        "run": 7,
        "why": "it answers",
        "progress": 0.5,
        "waiting": 0,
        "in_flight": 0,
        "idle_in_s": None,
        "retry_in_s": None,
        "failures": 0,
        "placement": {},
        "estimates": [],
        "load_s": 10.0,
        "aliases": ["gpt-4o"],
        "pinned": False,
        "cause": None,
        "removed": False,
        "pull": None,
    }
    assert shown["devices"][0] == {
        "id": "gpu0",
        "capacity": 1000,
        "headroom": 10,
        "claimed": 0,
        "reserved": 0,
        "free": 990,
        "measured_free": None,
        "foreign": None,
        "unit": "bytes",
        "measured": None,
    }


async def test_a_container_is_shown() -> None:
    """What runs, and how the run before it ended."""
    async with running() as rig:
        rig.conductor.reports["coder"] = ExitReport(Cause("exit", "code 1"), 1, False, ("last",))
        status, shown = await ask(rig, "/api/v1/container/coder")
    assert status == 200
    assert shown == {
        "id": "coder",
        "state": "ready",
        "run": 7,
        "runtime": "process",
        "name": "pid 12",
        "image": None,
        "pid": 12,
        "ports": ["127.0.0.1:1"],
        "started_at": 1.5,
        "health": "healthy",
        "exit": {
            "cause": {
                "kind": "exit",
                "message": "code 1",
                "heals": True,
                "out_of_memory": False,
            },
            "exit_code": 1,
            "oom_killed": False,
            "log_tail": ["last"],
        },
        "memory": {"ram": 4096, "vram": None, "claimed": {}},
    }


@pytest.mark.parametrize(
    ("path", "act", "state"),
    [
        ("start", "start", "ready"),
        ("restart", "restart", "ready"),
        ("stop", "stop", "down"),
        ("stop?force=true", "force", "down"),
        ("stop?force=0", "stop", "down"),
    ],
)
async def test_acts_are_waited_for(path: str, act: str, state: str) -> None:
    """The answer comes when it is done."""
    async with running() as rig:
        assert await ask(rig, f"/api/v1/service/gpt-4o/{path}", "POST") == (
            200,
            {"id": "coder", "state": state, "run": 7},
        )
        assert rig.conductor.acts == [(act, "coder")]


async def test_acts_that_are_not_waited_for_go_on_once() -> None:
    """202 at once; asking again while it goes on adds nothing."""
    async with running() as rig:
        rig.conductor.hold = trio.Event()
        for _ in range(3):
            status, _ = await ask(rig, "/api/v1/service/coder/start?wait=false", "POST")
            assert status == 202
        assert rig.conductor.acts == [("start", "coder")]


async def test_what_is_not_waited_for_has_begun_all_the_same() -> None:
    """The answer shows it, however Trio happens to order the tasks."""
    async with running() as rig:
        for _ in range(20):
            rig.conductor.acts.clear()
            status, said = await ask(rig, "/api/v1/service/coder/stop?wait=false", "POST")
            assert (status, said["state"]) == (202, "down")


async def test_a_start_that_is_refused_says_why() -> None:
    """As a request would be told; unwatched, it harms nobody."""
    async with running() as rig:
        rig.conductor.refusals["coder"] = Refused(
            ServiceId("coder"), Reason.SERVICE_FAILED, "no such model file"
        )
        status, error = await ask(rig, "/api/v1/service/coder/start", "POST")
        assert (status, error["error"]["code"]) == (503, "service_failed")
        status, _ = await ask(rig, "/api/v1/service/coder/start?wait=0", "POST")
        assert status == 202
        status, _ = await ask(rig, "/health")
        assert status == 200


async def test_logs_are_text_and_can_be_followed() -> None:
    """The tail, then what comes, until the reader leaves."""
    async with running() as rig:
        rig.conductor.lines = ["one", "two", "three"]
        status, head, body = await rig.get("/api/v1/service/coder/logs?tail=2")
        assert (status, b"text/plain" in head) == (200, True)
        assert b"two\n" in body
        assert b"one\n" not in body
        wire = await rig.ask(
            raw("GET /api/v1/service/coder/logs?follow=true HTTP/1.1\nHost: localhost")
        )
        await wire.until(b"three\n")
        wire.close()
        assert (await rig.record(1)).outcome is Outcome.CLIENT_GONE


async def test_metrics_of_who_is_ready() -> None:
    """They are its server's own words; whoever is down is not started for them."""
    async with running() as rig:
        path = "/api/v1/service/coder/metrics"
        status, headers, body = await rig.get(path, "Authorization: Bearer key")
        assert (status, body) == (200, b"served_total 1\n# Bearer key\n")
        assert b"text/plain" in headers
        rig.conductor.silent = True
        status, said = await ask(rig, path)
        assert (status, said["error"]["code"]) == (502, "upstream_error")
        await ask(rig, "/api/v1/service/coder/stop", "POST")
        asked = len(rig.conductor.acts)
        status, said = await ask(rig, path)
        assert (status, said["error"]["code"]) == (409, "no_metrics")
        assert len(rig.conductor.acts) == asked


async def test_health_tells_of_a_lost_runtime() -> None:
    """Still 200, because the proxy itself works."""
    async with running() as rig:
        status, health = await ask(rig, "/health")
        assert (status, health["status"]) == (200, "ok")
        assert set(health) == {"status", "version", "runtimes"}
        rig.conductor.runtime = RuntimeState(False, "the engine does not answer")
        status, health = await ask(rig, "/health?detail=1")
        assert (status, health["status"]) == (200, "degraded")
        assert health["runtimes"]["process"]["message"] == "the engine does not answer"
        assert {"gauges", "services", "devices"} < set(health)


async def test_measured_memory_is_shown_with_its_holders_and_its_age() -> None:
    """Fresh and old figures alike, but an old one says so; what is unknown is null."""
    async with running() as rig:
        at = trio.current_time()
        rig.gauges.fresh = {
            "gpu0": Measurement(GPU0, 1000, 300, {RunId(7): 400, RunId(8): 100, RunId(5): 50}, at),
        }
        rig.gauges.old = {
            "gpu1": Measurement(DeviceId("gpu1"), 800, 800, {}, at - 60, complete=False),
        }
        _, shown = await ask(rig, "/api/v1/services")
        gpu0, gpu1, ram = (device["measured"] for device in shown["devices"])
        assert 0 <= gpu0.pop("age_s") < 30
        assert gpu0 == {
            "total": 1000,
            "used": 700,
            "free": 300,
            "services": {"coder": 400, "many": 100},  # run 5 has just gone
            "foreign": 150,
            "stale": False,
        }
        assert 60 <= gpu1.pop("age_s") < 90
        assert gpu1 == {
            "total": 800,
            "used": 0,
            "free": 800,
            "services": {},
            "foreign": None,
            "stale": True,
        }
        assert ram is None


@pytest.mark.parametrize(
    ("by_run", "complete", "fresh", "vram"),
    [
        ({RunId(7): 400, RunId(8): 1}, True, True, {"gpu0": 400}),
        ({RunId(8): 1}, True, True, {}),
        ({RunId(7): 400}, False, True, {"gpu0": 400}),
        ({RunId(8): 1}, False, True, None),
        ({RunId(7): 400}, True, False, None),
    ],
    ids=["its own", "nothing", "some known", "unknown", "stale"],
)
async def test_the_vram_of_a_run(
    by_run: dict[RunId, int], complete: bool, fresh: bool, vram: dict[str, int] | None
) -> None:
    """What it holds on each GPU; null where nobody knows, which is not the same as nothing."""
    async with running() as rig:
        measured = Measurement(GPU0, 1000, 300, by_run, trio.current_time(), complete)
        (rig.gauges.fresh if fresh else rig.gauges.old)["gpu0"] = measured
        rig.gauges.fresh["ram"] = Measurement(RAM, 1000, 1, {RunId(7): 9}, measured.at, False)
        _, shown = await ask(rig, "/api/v1/container/coder")
        assert shown["memory"] == {"ram": 4096, "vram": vram, "claimed": {}}


async def test_health_of_gauges() -> None:
    """A gauge that fails says why; the proxy works without it."""
    async with running() as rig:
        why = "no NVIDIA driver: declared claims only"
        rig.gauges.working = {"gpu": Health(False, why)}
        status, health = await ask(rig, "/health?detail=1")
        assert (status, health["status"]) == (200, "ok")
        assert health["gauges"] == {"gpu": {"ok": False, "message": why}}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/service/", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/api/v1/service/coder/start", 405, "method_not_allowed"),
        ("GET", "/api/v1/container/codre", 404, "service_not_found"),
        ("GET", "/api/v1/service/coder/logs?tail=x", 400, "invalid_request"),
        ("GET", "/api/v1/service/coder/logs?tail=-1", 400, "invalid_request"),
        ("POST", "/api/v1/service/coder/stop?force=maybe", 400, "invalid_request"),
    ],
)
async def test_errors_have_the_shape_of_openai(
    method: str, path: str, status: int, code: str
) -> None:
    """Whoever finds the mistake, the router included."""
    async with running() as rig:
        got, body = await ask(rig, path, method)
    assert (got, body["error"]["code"]) == (status, code)
    assert set(body["error"]) == {"message", "type", "param", "code"}


async def test_a_405_says_what_is_allowed() -> None:
    """In Allow, as RFC 9110 demands."""
    async with running() as rig:
        _, head, _ = await rig.get("/v1/completions")
    assert b"allow: post\r\n" in head.lower()


async def test_a_bug_is_a_500_without_its_traceback() -> None:
    """The client gets the id to ask for, the log gets the bug."""
    async with running() as rig:
        del rig.conductor.connections["coder"]
        status, error = await ask(rig, "/service/coder/x", "GET", "X-Request-Id: find-me")
        record = await rig.record()
    assert (status, error["error"]["code"]) == (500, "internal_error")
    assert "find-me" in error["error"]["message"]
    assert "Traceback" not in str(error)
    assert record.outcome is Outcome.BUG
    assert isinstance(record.error, KeyError)


async def test_decisions_are_told() -> None:
    """By the service's alias, by the request, by kind; the newest last, as many as asked for."""
    chat, coder = ServiceId("many"), ServiceId("coder")
    async with running() as rig:
        for ticket in (1, 2):
            waiting = Waiting(TicketId(ticket), coder, ticket, "starting", State.STARTING)
            rig.decisions.note([waiting], float(ticket), lambda ticket: f"r{ticket}")
        changed = Changed(chat, RunId(3), State.READY, State.STOPPING, "idle")
        rig.decisions.note([changed], 3.0, lambda _: None)
        told = {
            query: (await ask(rig, f"/api/v1/decisions{query}"))[1]["decisions"]
            for query in (
                "",
                "?service=gpt-4o",
                "?request=r2",
                "?ticket=1",
                "?kind=stop",
                "?limit=1",
                "?service=coder&kind=stop",
            )
        }
    numbers = {query: [one["number"] for one in found] for query, found in told.items()}
    assert numbers == {
        "": [1, 2, 3],
        "?service=gpt-4o": [1, 2],
        "?request=r2": [2],
        "?ticket=1": [1],
        "?kind=stop": [3],
        "?limit=1": [3],
        "?service=coder&kind=stop": [],
    }
    assert told["?request=r2"][0]["why"] == "coder is starting; 1 other is before it"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("service=nope", 404, "service_not_found"),
        ("kind=nope", 400, "invalid_request"),
        ("ticket=x", 400, "invalid_request"),
        ("limit=0", 400, "invalid_request"),
        ("limit=1001", 400, "invalid_request"),
    ],
)
async def test_bad_questions_about_decisions(query: str, status: int, code: str) -> None:
    """They are told what would do."""
    async with running() as rig:
        answered, error = await ask(rig, f"/api/v1/decisions?{query}")
    assert (answered, error["error"]["code"]) == (status, code)


def test_every_field_of_a_decision_is_documented() -> None:
    """Whoever reads the answer finds what a key means; so for the kinds and the fates."""
    told = set(re.findall(r"`(\w+)`", PAGE))
    decision = {field.name for kind in (Decision, Room, Candidate) for field in attrs.fields(kind)}
    fates = {"leaves", "spared", "not_enough", *(stay.value for stay in Stay)}
    kinds = {kind.value for kind in Kind}
    assert (decision | fates | kinds) - {"room"} - told == set()
