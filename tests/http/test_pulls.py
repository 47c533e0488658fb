"""The API fetches images, tells how far that is, and cancels it."""

import json
from typing import Any

import trio

from proxycore import Cause

from .rig import Rig, raw, running

IMAGE = "acme/llm:1"


async def lines(rig: Rig, path: str) -> tuple[int, list[dict[str, Any]]]:
    """Return all that a pull tells until its end."""
    wire = await rig.ask(raw(f"POST {path} HTTP/1.0\nHost: localhost"))
    head = await wire.head()
    body = (await wire.rest()).decode()
    assert b"application/x-ndjson" in head
    return int(head.split()[1]), [json.loads(line) for line in body.splitlines()]


async def ask(rig: Rig, path: str, method: str = "POST") -> tuple[int, Any]:
    status, _, body = await rig.get(path, method=method)
    return status, json.loads(body)


async def test_a_pull_tells_how_far_it_is_and_how_it_ended() -> None:
    """By the service, or by the name of any image."""
    async with running() as rig:
        rig.gate.images["coder"] = IMAGE
        status, told = await lines(rig, "/api/v1/service/gpt-4o/pull")
        assert (status, told[0]["state"], told[-1]["state"]) == (200, "pulling", "done")
        assert (told[-1]["image"], told[-1]["percent"]) == (IMAGE, 100.0)
        _, other = await lines(rig, "/api/v1/pull?image=other:2")
        assert (other[-1]["image"], other[-1]["state"]) == ("other:2", "done")
        _, known = await ask(rig, "/api/v1/pulls", "GET")
        assert [(one["image"], one["state"]) for one in known["pulls"]] == [
            (IMAGE, "done"),
            ("other:2", "done"),
        ]
    assert rig.images.asked == [IMAGE, "other:2"]


async def test_a_pull_that_fails_ends_with_its_cause() -> None:
    """Which the service shows too, until its image is here."""
    async with running() as rig:
        rig.gate.images["coder"] = IMAGE
        cause = Cause("registry_login", "who are you?", heals=False)
        rig.images.faults[IMAGE] = cause
        _, told = await lines(rig, "/api/v1/service/coder/pull")
        assert told[-1]["state"] == "failed"
        assert told[-1]["cause"] == {
            "kind": "registry_login",
            "message": "who are you?",
            "heals": False,
            "out_of_memory": False,
        }
        _, shown = await ask(rig, "/api/v1/services", "GET")
        assert shown["services"][0]["pull"]["state"] == "failed"
        del rig.images.faults[IMAGE]
        await lines(rig, "/api/v1/service/coder/pull")
        _, shown = await ask(rig, "/api/v1/services", "GET")
        assert shown["services"][0]["pull"] is None


async def test_a_pull_is_joined_and_goes_on_when_its_followers_leave() -> None:
    """One fetches for all."""
    async with running() as rig:
        rig.images.second_s = 0.1
        rig.gate.images["coder"] = IMAGE
        rig.gate.waiters["coder"] = 3
        wire = await rig.ask(raw("POST /api/v1/service/coder/pull HTTP/1.1\nHost: localhost"))
        await wire.until(b"pulling")
        _, shown = await ask(rig, "/api/v1/services", "GET")
        assert shown["services"][0]["pull"]["state"] == "pulling"
        assert shown["services"][0]["waiting"] == 3
        status, told = await ask(rig, "/api/v1/service/coder/pull?wait=false")
        assert (status, told["state"]) == (202, "pulling")
        wire.close()
        _, rest = await lines(rig, "/api/v1/service/coder/pull")
        assert rest[-1]["state"] == "done"
    assert rig.images.asked == [IMAGE]


async def test_a_pull_is_cancelled() -> None:
    """Whoever follows it is told; without one there is nothing to cancel."""
    async with running() as rig:
        rig.images.second_s = 60.0
        rig.gate.images["coder"] = IMAGE
        told: list[dict[str, Any]] = []

        async def follow() -> None:
            told.extend((await lines(rig, "/api/v1/service/coder/pull"))[1])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            while not rig.images.asked:  # noqa: ASYNC110
                await trio.sleep(0.001)
            cancelled = await ask(rig, "/api/v1/service/coder/pull/cancel")
        assert cancelled == (200, {"image": IMAGE, "cancelled": True})
        assert (told[-1]["state"], told[-1]["cause"]["kind"]) == ("cancelled", "pull_cancelled")
        again = await ask(rig, f"/api/v1/pull/cancel?image={IMAGE}")
        assert again == (200, {"image": IMAGE, "cancelled": False})


async def test_what_cannot_be_fetched_is_said() -> None:
    """A service without an image, and what is no name of one."""
    async with running() as rig:
        for path, status, code in (
            ("/api/v1/service/coder/pull", 409, "no_image"),
            ("/api/v1/service/coder/pull/cancel", 409, "no_image"),
            ("/api/v1/service/nope/pull", 404, "service_not_found"),
            ("/api/v1/pull", 400, "invalid_request"),
            ("/api/v1/pull?image=a%20b", 400, "invalid_request"),
            ("/api/v1/pull?image=%C3%A9", 400, "invalid_request"),
            ("/api/v1/pull?image=a%0A", 400, "invalid_request"),
            (f"/api/v1/pull?image={'a' * 513}", 400, "invalid_request"),
            ("/api/v1/pull/cancel?image=", 400, "invalid_request"),
            ("/api/v1/pull?image=a:1&wait=perhaps", 400, "invalid_request"),
        ):
            answered, body = await ask(rig, path)
            assert (answered, body["error"]["code"]) == (status, code), path
        rig.pulls.close()
        answered, body = await ask(rig, "/api/v1/pull?image=a:1")
        assert (answered, body["error"]["code"]) == (503, "shutting_down")
    assert rig.images.asked == []
