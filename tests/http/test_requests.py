"""Requests in flight can be seen, and cancelled by hand wherever they stand."""

import json
from typing import Any

import pytest
import trio

from proxyserver.http import Outcome

from .rig import EVENTS, PATIENCE_S, PROMPT_S, Rig, Wire, chunk, raw, running

HEAD = "POST {} HTTP/1.1\nHost: localhost\nX-Request-Id: r-1\nContent-Length: {}"
BODY = b'{"model": "gpt-4o"}'
STAGES = {
    "reading": raw(HEAD.format("/v1/completions", 100), BODY[:5]),
    "waiting": raw(HEAD.format("/v1/completions", len(BODY)), BODY),
    "uploading": raw(HEAD.format("/service/coder/x", 100), BODY),
    "thinking": raw(HEAD.format("/service/coder/x", len(BODY)), BODY),
    "streaming": raw(HEAD.format("/service/coder/stream", len(BODY)), BODY),
}


async def upstream(wire: Wire) -> None:
    """Begin an answer, to who wants one, and wait for the end."""
    head = await wire.head()
    if b"/stream " in head:
        await wire.send(EVENTS + chunk(b"data: 1\n\n"))
    await wire.wait_closed(PATIENCE_S)


async def whole(wire: Wire) -> bytes:
    """Read an answer that has a length."""
    head = await wire.head()
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    return head + await wire.exactly(int(length))


async def in_flight(rig: Rig) -> list[dict[str, Any]]:
    _, _, body = await rig.get("/api/v1/requests")
    found: list[dict[str, Any]] = json.loads(body)["requests"]
    return found


async def reached(rig: Rig, stage: str) -> dict[str, Any]:
    """Wait until the one request has come so far; return how it is told."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found = await in_flight(rig)
            size = 5 if stage == "reading" else len(BODY)
            if [(one["state"], one["bytes_in"]) for one in found] == [(stage, size)]:
                return found[0]
            await trio.sleep(0.005)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_request_is_seen_and_cancelled_wherever_it_stands(
    stage: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Its client is told, its service is left, its place is free; nobody else notices."""
    async with running(upstream) as rig:
        rig.conductor.hold = trio.Event() if stage == "waiting" else None
        wire = await rig.ask(STAGES[stage])
        told = await reached(rig, stage)
        if stage == "streaming":
            await wire.until(b"data: 1\n\n")
        status, _, answered = await rig.get("/api/v1/requests/r-1", method="DELETE")
        assert (status, json.loads(answered)) == (200, {"id": "r-1", "cancelled": 1})
        with trio.fail_after(PROMPT_S):
            rest = await (wire.rest() if stage == "streaming" else whole(wire))
        with trio.fail_after(PATIENCE_S):
            while "r-1" not in [one.request_id for one in rig.records]:  # noqa: ASYNC110
                await trio.sleep(0.001)
        record = next(one for one in rig.records if one.request_id == "r-1")
        with trio.fail_after(PROMPT_S):
            while any(one.stream.socket.fileno() >= 0 for one in rig.upstreams):  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert await in_flight(rig) == []
        assert (rig.conductor.waiting, rig.conductor.in_flight) == (0, 0)
    if stage == "streaming":
        assert b'"request_cancelled"' in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert record.status == 200
    else:
        head, _, body = rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"x-should-retry: false" in head
        assert json.loads(body)["error"]["code"] == "request_cancelled"
    assert record.outcome is Outcome.CANCELLED
    named = stage == "waiting"
    assert {**told, "for_s": told["for_s"] < PATIENCE_S} == {
        "id": "r-1",
        "method": "POST",
        "path": STAGES[stage].split()[1].decode(),
        "service": None if stage == "reading" else "coder",
        "model": "gpt-4o" if named else None,
        "run": None if stage in ("reading", "waiting") else 7,
        "key": None,
        "state": stage,
        "for_s": True,
        "position": 1 if stage == "waiting" else None,
        "estimate_s": None,
        "bytes_in": 5 if stage == "reading" else len(BODY),
        "bytes_out": len(b"data: 1\n\n") if stage == "streaming" else 0,
    }


async def test_who_waits_is_told_where_and_for_how_long() -> None:
    """Each service has a line of its own, in the order of asking, and its own time to load."""
    async with running(upstream) as rig:
        rig.conductor.hold = trio.Event()
        rig.conductor.starting["coder"] = 30.0
        ask = "POST /service/{}/x HTTP/1.1\nHost: localhost\nX-Request-Id: r-{}\nContent-Length: 0"
        for number, service in enumerate(["coder", "many", "coder"]):
            await rig.ask(raw(ask.format(service, number), b""))
            with trio.fail_after(PATIENCE_S):
                while rig.conductor.waiting <= number:  # noqa: ASYNC110
                    await trio.sleep(0.001)
        found = await in_flight(rig)
    assert [(one["id"], one["position"]) for one in found] == [("r-0", 1), ("r-1", 1), ("r-2", 2)]
    left = pytest.approx(25.0, abs=PROMPT_S)
    assert [one["estimate_s"] for one in found] == [left, None, left]


async def test_who_is_not_in_flight_cannot_be_cancelled() -> None:
    """Nor can who asks: its own request is not among them."""
    async with running() as rig:
        status, _, body = await rig.get("/api/v1/requests/no%2Fone", method="DELETE")
        assert (status, json.loads(body)["error"]["code"]) == (404, "request_not_found")
        assert await in_flight(rig) == []


async def test_all_of_one_id_are_cancelled_and_no_other() -> None:
    """Clients choose ids, and may choose one twice."""
    async with running(upstream) as rig:
        wires = [await rig.ask(STAGES["thinking"]) for _ in range(2)]
        other = await rig.ask(STAGES["streaming"].replace(b"r-1", b"r-2"))
        await other.until(b"data: 1\n\n")
        with trio.fail_after(PATIENCE_S):
            while len(rig.upstreams) < 3:  # noqa: ASYNC110
                await trio.sleep(0.005)
        _, _, body = await rig.get("/api/v1/requests/r-1", method="DELETE")
        assert json.loads(body)["cancelled"] == 2
        for wire in wires:
            assert b" 503 " in await wire.head()
        assert [one["id"] for one in await in_flight(rig)] == ["r-2"]
