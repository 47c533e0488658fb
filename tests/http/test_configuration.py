"""The API reads the configuration again, and tells what that does or would do."""

import json
from typing import Any

from .described import check
from .fake_configuration import FakeOutcome
from .rig import Rig, raw, running

PROBLEM = {"file": "c.yaml", "line": 3, "column": 5, "path": "services.a", "message": "is wrong"}


async def ask(rig: Rig, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, Any]:
    head = f"{method} {path} HTTP/1.0\nHost: localhost\nContent-Length: {len(body)}"
    wire = await rig.ask(raw(head, body))
    status = int((await wire.head()).split()[1])
    said = json.loads(await wire.rest())
    check(method, path, status, said)
    return status, said


async def test_what_a_reload_did_is_told() -> None:
    """And where the configuration comes from, here and beside the services."""
    async with running() as rig:
        status, said = await ask(rig, "/api/v1/config/reload")
        assert (status, said["outcome"], said["added"]) == (200, "changed", ["new"])
        standing: dict[str, object] = {
            "path": "/c.yaml",
            "loaded_at": 1.0,
            "problems": [],
            "needs_restart": [],
        }
        standing["schedules"] = []
        assert await ask(rig, "/api/v1/config", method="GET") == (200, standing)
        for path in ("/api/v1/services", "/health?detail=1"):
            _, overview = await ask(rig, path, method="GET")
            assert overview["configuration"] == standing


async def test_what_is_refused_is_told_with_all_problems() -> None:
    """For programs in a list, for people in words."""
    async with running() as rig:
        rig.configuration.outcome = FakeOutcome([PROBLEM] * 5)
        for path in ("/api/v1/config/reload", "/api/v1/config/diff"):
            status, said = await ask(rig, path)
            assert (status, said["error"]["code"]) == (422, "configuration_refused")
            assert said["error"]["problems"] == [PROBLEM] * 5
            message = said["error"]["message"]
            assert "c.yaml:3:5: services.a: is wrong;" in message
            assert message.endswith("(and 2 more)")


async def test_a_body_is_compared_in_place_of_the_file() -> None:
    """Without one, the files are; one that can be no configuration is not read."""
    async with running() as rig:
        text = "services: {ü: 1}"
        for body in (text.encode(), b"", text.encode("utf-8-sig")):
            status, _ = await ask(rig, "/api/v1/config/diff", body)
            assert status == 200
        assert rig.configuration.texts == [text, None, text]
        status, said = await ask(rig, "/api/v1/config/diff", b"\xff")
        assert (status, said["error"]["code"]) == (400, "invalid_request")
        status, said = await ask(rig, "/api/v1/config/diff", b"#" * ((1 << 20) + 1))
        assert (status, said["error"]["code"]) == (413, "request_too_large")
        assert len(rig.configuration.texts) == 3
