"""What the rules of a service want of a request is done, and nothing else."""

import json
from pathlib import Path

import pytest
import trio

from proxyserver.http import Outcome, Patience
from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.wire import Change

from .rig import Server, Wire, answer, chunk, raw, running
from .test_inference import echo, post
from .test_surfaces import FORM, form

CHANGE = Change({"temperature": b"0.10"}, {"top_k": b"[1]"}, ["seed"])
RULES = RequestRules(BodyRules("real", CHANGE), {"gpt-4o": BodyRules(None, Change(strip=["stop"]))})
PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (
            '{"model": "coder" ,"n": 1.00, "temperature":2,\n"seed": 1e2}',
            '{"top_k": [1], "model": "real" ,"n": 1.00, "temperature":0.10}',
        ),
        (
            '{"model": "coder", "top_k": null, "stop": []}',
            '{"temperature": 0.10, "model": "real", "top_k": null, "stop": []}',
        ),
        ('{"stop": [], "model": "gpt-4o", "seed": 1}', '{"model": "gpt-4o", "seed": 1}'),
    ],
)
async def test_bodies_say_what_is_wanted(body: str, sent: str) -> None:
    """By the rules of the service, or of the name; the rest keeps its bytes."""
    async with running(echo, rules={"coder": RULES}) as rig:
        status, _, seen = await post(rig, PATH, body.encode())
    assert (status, seen["body"]) == (200, sent)


async def test_a_form_is_renamed_and_nothing_else() -> None:
    """Rules about keys are about JSON."""
    async with running(echo, rules={"coder": RULES}) as rig:
        _, _, seen = await post(rig, "/v1/audio/transcriptions", form("coder"), *FORM)
    assert seen["body"] == form("real").decode()


async def test_a_model_inside_a_server_has_the_rules_of_its_server() -> None:
    """Its name is its own."""
    rules = RequestRules(BodyRules(None, CHANGE))
    async with running(echo, rules={"many/tiny": rules}) as rig:
        _, _, seen = await post(rig, PATH, b'{"model": "small"}')
    assert json.loads(seen["body"]) == {"model": "tiny", "temperature": 0.1, "top_k": [1]}


async def test_the_default_model_is_told() -> None:
    """Where the server knows it by a name, somebody has to say it."""
    rules = {"coder": RequestRules(BodyRules("real"))}
    async with running(echo, rules=rules, server=Server(default_model="coder")) as rig:
        _, _, seen = await post(rig, PATH, b"{}")
    assert seen["body"] == '{"model": "real"}'


async def test_a_service_by_its_path_keeps_its_bodies() -> None:
    """`/service/` is for what nobody shall touch."""
    async with running(echo, rules={"coder": RULES}) as rig:
        _, _, seen = await post(rig, "/service/coder/x", b'{"seed": 1}')
    assert seen["body"] == '{"seed": 1}'


async def echo_size(wire: Wire) -> None:
    """Answer with the length and the ends of a large body."""
    head = await wire.head()
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    body = await wire.exactly(length)
    seen = {"length": length, "json": json.loads(body) | {"pad": None}}
    await wire.send(answer(json.dumps(seen).encode(), "Connection: close"))


async def test_a_large_body_is_changed_at_its_end(tmp_path: Path) -> None:
    """Be it on disk, and in chunks: all of it is held, and its length is told."""
    pad = "x" * 3_000_000
    server = Server(1_000_000, spill_max=4_000_000, spill_total=8_000_000, spill_dir=tmp_path)
    body = f'{{"model": "coder", "pad": "{pad}", "seed": 7}}'.encode()
    async with running(echo_size, rules={"coder": RULES}, server=server) as rig:
        status, _, seen = await post(rig, PATH, body)
        chunked = f"POST {PATH} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked"
        wire = await rig.ask(raw(chunked))
        await wire.send(chunk(body) + b"0\r\n\r\n")
        head = await wire.head()
        again = json.loads(await wire.exactly(int(head.lower().split(b"length: ")[1].split()[0])))
    wanted = {"model": "real", "pad": None, "temperature": 0.1, "top_k": [1]}
    assert (status, seen["json"]) == (200, wanted)
    assert again == seen


async def test_what_cannot_be_held_cannot_be_changed() -> None:
    """It is refused, with the limit; without such rules it would stream."""
    body = b'{"model": "coder", "pad": "%s"}' % (b"x" * 2_000_000)
    async with running(echo_size, rules={"coder": RULES}, server=Server(1_500_000)) as rig:
        status, _, error = await post(rig, PATH, body)
        assert (status, error["error"]["code"]) == (413, "request_too_large")
        assert "1500000 bytes (server.body_max)" in error["error"]["message"]
        assert rig.conductor.asked == []
        status, _, error = await post(rig, PATH, b'{"model": "coder", "seed": 1, "seed": 2}')
        assert (status, error["error"]["code"]) == (400, "invalid_json")


async def echo_head(wire: Wire) -> None:
    """Answer with the head."""
    head = await wire.head()
    await wire.send(answer(head, "Connection: close"))


async def test_headers_are_set_and_removed() -> None:
    """By their names in any case, once each; the others are not touched."""
    rules = {
        "coder": RequestRules(dropped=frozenset({b"x-team", b"cookie"}), added=b"x-team: a\r\n")
    }
    sent = ("X-Team: b", "x-TEAM: c", "Cookie: d", "X-Other:e", "X-Team-2: f")
    async with running(echo_head, rules=rules) as rig:
        _, _, seen = await rig.get("/service/coder/x", *sent)
    lines = seen.decode().split("\r\n")
    assert [line for line in lines if "team" in line.lower()] == ["X-Team-2: f", "x-team: a"]
    assert "X-Other:e" in lines
    assert "cookie" not in seen.decode().lower()
    assert sum(line.lower().startswith("host:") for line in lines) == 1


async def deaf(wire: Wire) -> None:
    """Say nothing."""
    await wire.head()
    await trio.sleep_forever()


@pytest.mark.parametrize("path", [PATH, "/service/coder/x"])
async def test_a_body_has_a_largest_size(path: str) -> None:
    """As its head tells, or as it turns out."""
    body = b'{"model": "coder"}'.ljust(101)
    async with running(deaf, rules={"coder": RequestRules(size_max=100)}) as rig:
        status, _, error = await post(rig, path, body)
        assert (status, error["error"]["code"]) == (413, "request_too_large")
        assert rig.conductor.asked == []
        wire = await rig.ask(
            raw(f"POST {path} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked")
        )
        await wire.send(chunk(body[:50]))
        await wire.send(chunk(body[50:]) + b"0\r\n\r\n")
        assert (await wire.head()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", [PATH, "/service/coder/x"])
async def test_a_body_of_the_largest_size_passes(path: str) -> None:
    """To the byte."""
    body = b'{"model": "coder"}'.ljust(100)
    async with running(echo, rules={"coder": RequestRules(size_max=100)}) as rig:
        status, _, seen = await post(rig, path, body)
    assert (status, len(seen["body"])) == (200, 100)


async def test_a_service_has_its_own_patience(autojump_clock: trio.testing.MockClock) -> None:
    """Shorter than that of all, in the one thing that it says."""

    async def silent(wire: Wire) -> None:
        await wire.head()
        await trio.sleep(100)

    rules = {"coder": RequestRules(first_byte_s=3.0)}
    assert Patience().with_rules(rules["coder"]) == Patience(3.0, Patience().stall_s)
    async with running(silent, rules=rules) as rig:
        status, _, _ = await rig.get("/service/coder/x")
        record = await rig.record()
    assert status == 504
    assert record.outcome is Outcome.REJECTED
    assert record.duration_s < 6
