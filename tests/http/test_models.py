"""Lists of models are made of the configuration and the picture; nothing is started for them."""

import json
from typing import Any

import attrs
import pytest
import trio

from proxycore import ServiceId
from proxyserver.about import About

from .rig import Rig, running
from .test_inference import post

ABOUT = About("llama", 7_600_000_000, "Q4_K_M", 4_000_000_000, 131072, 8192)


async def get(rig: Rig, path: str) -> tuple[int, Any]:
    status, _, body = await rig.get(path)
    return status, json.loads(body)


def inform(rig: Rig) -> None:
    services = dict(rig.settings.services)
    coder = ServiceId("coder")
    services[coder] = attrs.evolve(services[coder], about=ABOUT)
    rig.settings.services = services


async def test_a_model_is_shown_with_what_its_file_tells() -> None:
    """By any of its names, also those with a slash."""
    async with running() as rig:
        inform(rig)
        status, shown = await get(rig, "/v1/models/gpt-4o")
        assert status == 200
        assert shown.pop("created") > 0
        assert shown == {
            "id": "gpt-4o",
            "object": "model",
            "owned_by": "coder",
            "status": {"value": "loaded"},
            "max_model_len": 8192,
            "meta": {
                "n_ctx": 8192,
                "n_ctx_train": 131072,
                "n_params": 7_600_000_000,
                "size": 4_000_000_000,
            },
        }
        status, shown = await get(rig, "/v1/models/many/tiny")
        assert (status, shown["owned_by"], shown["meta"]) == (200, "many/tiny", None)
        status, error = await get(rig, "/v1/models/codre")
        assert (status, error["error"]["code"]) == (404, "model_not_found")


async def test_lists_agree() -> None:
    """On names and on what is loaded, whatever their shape."""
    async with running() as rig:
        inform(rig)
        rig.conductor.acts.append(("stop", "many"))
        names = [one["id"] for one in (await get(rig, "/v1/models"))[1]["data"]]
        models = (await get(rig, "/models"))[1]["data"]
        studio = (await get(rig, "/api/v0/models"))[1]["data"]
        tags = (await get(rig, "/api/tags"))[1]["models"]
        running_ = (await get(rig, "/api/ps"))[1]["models"]
        assert rig.conductor.asked == []
    assert names == [one["id"] for one in models] == [one["id"] for one in studio]
    assert names == [one["name"] for one in tags]
    loaded = [one["id"] for one in models if one["status"]["value"] == "loaded"]
    assert {*names} - {*loaded} == {"many"}
    assert loaded == [one["id"] for one in studio if one["state"] == "loaded"]
    assert loaded == [one["name"] for one in running_]
    assert tags[0]["details"]["parameter_size"] == "7.6B"
    assert running_[0]["context_length"] == 8192


async def test_models_are_loaded_and_unloaded() -> None:
    """At once, in the background; an unknown one is told."""
    async with running() as rig:
        assert (await post(rig, "/models/load", b'{"model": "gpt-4o"}'))[2] == {"success": True}
        assert (await post(rig, "/models/unload", b'{"model": "coder"}'))[2] == {"success": True}
        assert rig.conductor.acts == [("start", "coder"), ("stop", "coder")]
        for body, status, code in (
            (b'{"model": "codre"}', 404, "model_not_found"),
            (b"{}", 400, "missing_model"),
            (b"[", 400, "invalid_json"),
            (b"[]", 400, "invalid_json"),
            (b" " * 70_000, 413, "request_too_large"),
        ):
            got, _, error = await post(rig, "/models/load", body)
            assert (got, error["error"]["code"]) == (status, code)


async def test_what_changes_is_told() -> None:
    """All at first, then the one that is another."""
    async with running() as rig:
        wire = await rig.ask(b"GET /models/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"content-type: text/event-stream" in (await wire.head()).lower()
        told = [await wire.until(b"\n\n") for _ in range(6)]
        assert b'"coder", "event": "status_change", "data": {"status": "loaded"}' in told[0]
        rig.conductor.acts.append(("stop", "many"))
        last = await wire.until(b"\n\n")
    assert b'{"model": "many", "event": "status_change", "data": {"status": "unloaded"}}' in last


async def test_shown_as_ollama_does() -> None:
    """A name may have Ollama's tag."""
    async with running() as rig:
        inform(rig)
        status, _, shown = await post(rig, "/api/show", b'{"model": "coder:latest"}')
        assert (status, shown["model_info"]["llama.context_length"]) == (200, 131072)
        status, _, error = await post(rig, "/api/show", b'{"model": "codre"}')
    assert (status, [*error]) == (404, ["error"])


@pytest.mark.parametrize("path", ["/api/version", "/api/tags", "/v1/models"])
async def test_a_list_takes_milliseconds(path: str) -> None:
    """Clients give a list a few seconds, while a service may be loading for minutes."""
    async with running() as rig:
        rig.conductor.hold = trio.Event()
        with trio.fail_after(0.5):
            status, _ = await get(rig, path)
    assert status == 200
