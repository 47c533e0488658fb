"""Decisions are told as they are made, to who listens, from where it stopped listening."""

import json
from collections.abc import Iterator
from typing import Any

import trio

from proxycore import Changed, RunId, ServiceId, State

from .rig import Rig, Wire, running

CODER, MANY = ServiceId("coder"), ServiceId("many")


def decide(rig: Rig, service: ServiceId = CODER, *states: State) -> None:
    """Let the conductor say that a service went through these states."""
    old = State.DOWN
    for new in states or (State.RESERVED,):
        effect = Changed(service, RunId(1), old, new, "there is room")
        rig.decisions.note([effect], trio.current_time(), lambda ticket: None)
        old = new


async def listening(rig: Rig, path: str = "/api/v1/events", *headers: str) -> Wire:
    """Return a connection on which events come; its head and first comment are read."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers]
    wire = await rig.ask(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert b"text/event-stream" in await wire.head()
    await wire.until(b"now on\n\n\r\n")
    return wire


async def events(wire: Wire, count: int) -> list[dict[str, Any]]:
    """Return the next events."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        text = (await wire.until(b"\n\n\r\n")).decode()
        found += _events(text)
    return found


def _events(text: str) -> Iterator[dict[str, Any]]:
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "data" in fields:
        told = json.loads(fields["data"])
        assert (fields["id"], fields["event"]) == (str(told["number"]), told["kind"])
        yield told


async def test_decisions_come_as_they_are_made() -> None:
    """Those to come, each with its number, kind and words; two listeners hear the same."""
    async with running() as rig:
        decide(rig)
        one, two = await listening(rig), await listening(rig)
        decide(rig, CODER, State.RESERVED, State.STARTING)
        heard = await events(one, 2)
        assert [event["kind"] for event in heard] == ["reserve", "start"]
        assert heard[0]["service"] == "coder"
        assert await events(two, 2) == heard
        decide(rig, CODER, State.READY)
        assert [event["kind"] for event in await events(one, 1)] == ["adopt"]


async def test_a_listener_goes_on_where_it_stopped() -> None:
    """By the query, or as browsers do, which goes before; what is no number of ours is none."""
    async with running() as rig:
        for _ in range(3):
            decide(rig)
        wire = await listening(rig, "/api/v1/events?after=1")
        assert [event["number"] for event in await events(wire, 2)] == [2, 3]
        wire = await listening(rig, "/api/v1/events?after=0", "Last-Event-ID: 2")
        assert [event["number"] for event in await events(wire, 1)] == [3]
        wire = await listening(rig, "/api/v1/events", "Last-Event-ID: 999")
        assert [event["number"] for event in await events(wire, 3)] == [1, 2, 3]
        wire = await listening(rig, "/api/v1/events", f"Last-Event-ID: {'9' * 5000}")
        decide(rig)
        assert [event["number"] for event in await events(wire, 1)] == [4]


async def test_one_service_can_be_listened_to() -> None:
    """By any of its names; one that is not there is a 404."""
    async with running() as rig:
        wire = await listening(rig, "/api/v1/events?service=gpt-4o&after=0")
        decide(rig, MANY)
        decide(rig, CODER)
        assert [event["service"] for event in await events(wire, 1)] == ["coder"]
        assert (await rig.get("/api/v1/events?service=codr"))[0] == 404
        assert (await rig.get("/api/v1/events?after=x"))[0] == 400
