"""Who has no key gets nothing, and who has one gets what it is for: on either lane."""

import json

import attrs
import openai
import pytest
import trio

from proxyserver.access import hashed, new_key
from proxyserver.http._routes import TABLE

from .keys import KEYS, ORIGIN, SECRETS, WITH_KEYS, ask, basic, bearer, code
from .rig import GET, PROMPT_S, Wire, answer, answering, raw, running

BODY = b'{"model": "%s"}'


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {SECRETS['user']}",
        f"AUTHORIZATION: bearer   {SECRETS['user']} ",
        f"x-api-key: {SECRETS['user']}",
        f"API-Key: {SECRETS['user']}",
        basic("anybody", SECRETS["user"]),
        basic("", SECRETS["user"]),
        f"x-api-key: {SECRETS['user']}\r\nAuthorization: Bearer {SECRETS['user']}",
    ],
    ids=["bearer", "case and space", "x-api-key", "api-key", "basic", "nobody", "two"],
)
@pytest.mark.parametrize("path", ["/service/coder/x", "/v1/completions"])
async def test_a_key_is_taken_however_it_is_shown(path: str, header: str) -> None:
    """And it goes no further; the record has its name."""
    async with running(answering(answer(b"done"))) as rig:
        rig.settings.server = WITH_KEYS
        method, body = ("GET", b"") if path[1] == "s" else ("POST", BODY % b"coder")
        status, _, said = await ask(rig, path, header, "X-Other: 1", method=method, body=body)
        assert (status, said) == (200, b"done")
        record = await rig.record()
    assert record.key == "user"
    assert SECRETS["user"] not in str(record)


WRONG = {
    "none": "X-A: 1",
    "an unknown one": f"Authorization: Bearer {new_key()}",
    "a hash": f"x-api-key: {hashed(SECRETS['user'])}",
    "a part": f"x-api-key: {SECRETS['user'][:-1]}",
    "an empty one": "Authorization: Bearer",
    "another scheme": f"Authorization: Digest {SECRETS['user']}",
    "no scheme": f"Authorization: {SECRETS['user']}",
    "broken base64": "Authorization: Basic !!!",
    "the user of Basic": basic(SECRETS["user"], ""),
    "two keys": f"x-api-key: {SECRETS['user']}\r\nAuthorization: Bearer {SECRETS['boss']}",
    "a good one and a wrong one": f"x-api-key: {SECRETS['user']}\r\nx-api-key: wrong",
    "a cookie": f"Cookie: key={SECRETS['user']}",
    "a header for proxies": f"Proxy-Authorization: Bearer {SECRETS['user']}",
    "a key with more behind": f"Authorization: Bearer {SECRETS['user']}, Bearer x",
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG.keys())
async def test_who_shows_no_key_gets_nothing(header: str) -> None:
    """No service is asked, none is started, and the answer says how to do better."""
    async with running(answering(answer(b"secret"))) as rig:
        rig.settings.server = WITH_KEYS
        for method, path in (
            ("GET", "/service/coder/x"),
            ("OPTIONS", "/service/coder/x"),
            ("HEAD", "/service/coder/x"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("GET", "/api/v1/services"),
            ("HEAD", "/api/v1/services"),
            ("POST", "/api/v1/service/coder/stop"),
            ("GET", "/health?detail=1"),
        ):
            status, head, said = await ask(rig, path, header, method=method)
            assert (status, path) == (401, path)
            assert b'\r\nwww-authenticate: Bearer realm="aiproxy"\r\n' in head
            assert b"Basic" not in head
            if method != "HEAD":
                assert code(said) == "invalid_api_key"
                assert b"Authorization: Bearer KEY" in said
        assert rig.conductor.asked == []
        assert rig.conductor.acts == []


async def test_a_key_in_the_query_is_none() -> None:
    """Addresses stand in logs and histories."""
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        status, _, _ = await ask(rig, f"/service/coder/x?key={SECRETS['user']}")
        assert status == 401
        assert (await rig.record()).path == "/service/coder/x"


async def test_a_person_is_asked_for_a_key() -> None:
    """A browser asks where a page is opened, and not where a script calls."""
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        opened = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none")
        _, head, _ = await ask(rig, "/api/v1/services", *opened)
        assert b'\r\nwww-authenticate: Basic realm="aiproxy"\r\n' in head


async def test_each_route_is_for_those_that_the_table_says() -> None:
    """Whoever comes, any key, or one with the role: no route is forgotten."""
    allowed = {"anyone": {"", "user", "boss", "eye"}, "key": {"user", "boss", "eye"}}
    allowed |= {"inference": {"user"}, "admin": {"boss"}, "metrics": {"boss", "eye"}}
    async with running(answering(answer(b"done"))) as rig:
        rig.settings.server = WITH_KEYS
        for entry in TABLE:
            path = entry.path.replace("{id}", "coder").replace("{path}", "x")
            if entry.media == "text/event-stream":
                path += "?service=nobody"  # Else it would not end.
            method = "GET" if entry.method == "*" else entry.method
            passed = set()
            for name in ("", "user", "boss", "eye"):
                shown = (bearer(name),) if name else ()
                body = BODY % b"coder" if path.startswith("/v1/") and method == "POST" else b""
                if entry.media == "text/event-stream":  # It has no end.
                    lines = "".join(f"{line}\r\n" for line in ("Host: localhost", *shown))
                    wire = await rig.ask(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
                    if (await wire.head()).split()[1] not in (b"401", b"403"):
                        passed.add(name)
                    wire.close()
                    continue
                with trio.move_on_after(0.5 if "pull" in path else 5):
                    status, _, said = await ask(rig, path, *shown, method=method, body=body)
                    if status not in (401, 403):
                        passed.add(name)
                    elif name:
                        assert f"the key '{name}' has no role `".encode() in said
            assert (entry.path, passed) == (entry.path, allowed[entry.who])


@pytest.mark.parametrize(
    "path",
    [
        "/service/../api/v1/services",
        "/service/coder/../../api/v1/services",
        "/api%2Fv1/services",
        "/%61pi/v1/services",
        "/api/v1%2fservices",
        "//api/v1/services",
        "/health/../api/v1/services",
        "/v1/models/../../api/v1/services",
        "/api/v1/services/",
        "/api/v1/services?x=/health",
        "http://localhost/api/v1/services",
        "/openapi.json%3f/../api/v1/services",
    ],
)
async def test_no_way_to_write_a_path_leads_around_the_keys(path: str) -> None:
    """Roles are looked at behind the routing; what is no path of ours is a service's, or none."""
    async with running(answering(answer(b"a service's"))) as rig:
        rig.settings.server = WITH_KEYS
        for shown in ((), (bearer("user"),)):
            status, _, said = await ask(rig, path, *shown)
            assert b'"devices"' not in said
            assert status in (401, 403, 404) or said == b"a service's"
        status, _, said = await ask(rig, "/service/coder/../../api/v1/services", bearer("user"))
        assert said == b"a service's"


async def test_health_is_open_and_short() -> None:
    """A watchdog has no key; what runs here is for admins."""
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        status, _, said = await ask(rig, "/health")
        assert (status, set(json.loads(said))) == (200, {"status", "version", "runtimes"})
        assert (await ask(rig, "/health?detail=1", bearer("user")))[0] == 403
        assert (await ask(rig, "/health?detail=1", bearer("boss")))[0] == 200
        assert (await ask(rig, "/health", "Authorization: Bearer stale"))[0] == 200


async def test_a_key_sees_what_it_may_use() -> None:
    """The list has nothing else."""
    expected = {
        "both": ["coder", "gpt-4o", "many", "many/tiny", "tiny", "small"],
        "coder": ["coder", "gpt-4o"],
        "tiny": ["many/tiny", "tiny", "small"],
    }
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        for name, models in expected.items():
            _, _, said = await ask(rig, "/v1/models", bearer(name))
            assert [model["id"] for model in json.loads(said)["data"]] == models


@pytest.mark.parametrize("name", ["many", "small", "tiny", "many/tiny", "nobody"])
async def test_what_a_key_may_not_use_is_not_there(name: str) -> None:
    """The answer is that to a name of nobody: it tells neither that there is more, nor what."""
    async with running(answering(answer(b"done"))) as rig:
        rig.settings.server = WITH_KEYS
        body = BODY % name.encode()
        by_model = await ask(rig, "/v1/completions", bearer("coder"), method="POST", body=body)
        quoted = name.replace("/", "%2F")
        by_service = await ask(rig, f"/service/{quoted}/x", bearer("coder"))
        for (status, _, said), what in ((by_model, "model"), (by_service, "service")):
            assert (status, code(said)) == (404, f"{what}_not_found")
            message = json.loads(said)["error"]["message"]
            hint = "; GET /v1/models lists those that there are" if what == "model" else ""
            assert message == f"there is no {what} {name!r} for the key 'coder'{hint}"
        assert rig.conductor.asked == []
        assert (await ask(rig, "/service/gpt-4o/x", bearer("coder")))[0] == 200


async def test_near_names_are_those_of_the_key() -> None:
    """`coder` is near `codre` for one, for the other nothing is."""
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        _, _, own = await ask(rig, "/service/codre/x", bearer("coder"))
        _, _, strange = await ask(rig, "/service/codre/x", bearer("tiny"))
        assert b"did you mean 'coder'?" in own
        assert b"coder" not in strange


async def test_requests_a_minute_are_limited(autojump_clock: trio.testing.MockClock) -> None:
    """429 with the time to wait, in the words that OpenAI's clients read."""

    async def once(wire: Wire) -> None:
        await wire.head()
        await wire.send(answer(b"done", "Connection: close"))

    async with running(once) as rig:
        rig.settings.server = WITH_KEYS
        seen = [await ask(rig, "/service/coder/x", bearer("slow")) for _ in range(3)]
        assert [status for status, _, _ in seen] == [200, 200, 429]
        assert b"\r\nx-ratelimit-limit-requests: 2\r\n" in seen[0][1]
        assert b"\r\nx-ratelimit-remaining-requests: 1\r\n" in seen[0][1]
        assert b"\r\nx-ratelimit-remaining-requests: 0\r\n" in seen[2][1]
        assert b"\r\nretry-after: 30\r\n" in seen[2][1]
        assert code(seen[2][2]) == "rate_limited"
        assert json.loads(seen[2][2])["error"]["type"] == "rate_limit_error"
        assert (await ask(rig, "/v1/models", bearer("slow")))[0] == 200
        await trio.sleep(30)
        assert (await ask(rig, "/service/coder/x", bearer("slow")))[0] == 200


async def test_requests_at_once_are_limited() -> None:
    """The place comes back when the answer ends, or the client leaves."""
    async with running(answering(answer(b"done"))) as rig:
        rig.settings.server = WITH_KEYS
        rig.conductor.hold = trio.Event()
        request = GET.replace(b"\r\n\r\n", f"\r\n{bearer('one')}\r\n\r\n".encode())
        held = await rig.ask(request)
        with trio.fail_after(PROMPT_S):
            while not rig.conductor.waiting:  # noqa: ASYNC110
                await trio.sleep(0.001)
        assert (await ask(rig, "/service/coder/x", bearer("one")))[0] == 429
        held.close()
        await rig.record(1)
        rig.conductor.hold.set()
        assert (await ask(rig, "/service/coder/x", bearer("one")))[0] == 200


async def test_keys_are_replaced_while_it_serves() -> None:
    """A key that is gone opens nothing; what others have used of their limits stays used."""
    async with running(answering(answer(b"done"))) as rig:
        rig.settings.server = WITH_KEYS
        for _ in range(2):
            assert (await ask(rig, "/service/coder/x", bearer("slow")))[0] == 200
        rig.settings.server = attrs.evolve(
            WITH_KEYS, keys=tuple(one for one in KEYS if one.name != "user")
        )
        assert (await ask(rig, "/service/coder/x", bearer("user")))[0] == 401
        assert (await ask(rig, "/service/coder/x", bearer("slow")))[0] == 429
        assert (await ask(rig, "/service/coder/x", bearer("both")))[0] == 200


async def test_without_keys_what_clients_show_is_for_the_service() -> None:
    """As before there were any."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(answer(b"done"))

    async with running(script) as rig:
        await ask(rig, "/service/coder/x", "Authorization: Bearer abc", "x-api-key: def")
        rig.settings.server = WITH_KEYS
    assert b"\r\nAuthorization: Bearer abc\r\n" in seen[0]
    assert b"\r\nx-api-key: def\r\n" in seen[0]


async def test_with_keys_no_key_goes_upstream() -> None:
    """In none of its headers, on either path, and not to a server's metrics."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(answer(b"done"))

    shown = (bearer("both"), f"X-API-KEY: {SECRETS['both']}", f"api-key: {SECRETS['both']}")
    async with running(script) as rig:
        rig.settings.server = WITH_KEYS
        assert (await ask(rig, "/service/coder/x", *shown))[0] == 200
        body = BODY % b"coder"
        assert (await ask(rig, "/v1/completions", *shown, method="POST", body=body))[0] == 200
        _, _, metrics = await ask(rig, "/api/v1/service/coder/metrics", *shown)
        assert metrics == b"served_total 1\n# None\n"
    assert len(seen) == 2
    for head in seen:
        assert SECRETS["both"].encode() not in head
        assert b"key" not in head.lower()
        assert b"authorization" not in head.lower()


@pytest.mark.lane("fast")
async def test_a_page_shows_its_key_with_the_websocket() -> None:
    """Among the protocols that it offers; the others go on."""
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.head())
        await wire.send(
            b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: realtime\r\n\r\n"
        )

    def handshake(key: str) -> bytes:
        return raw(
            "GET /service/coder/ws HTTP/1.1\nHost: localhost\nConnection: Upgrade\n"
            f"Upgrade: websocket\nOrigin: {ORIGIN}\n"
            f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{key}, beta"
        )

    async with running(script) as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=(ORIGIN,))
        wire = await rig.ask(handshake(SECRETS["user"]))
        assert (await wire.head()).startswith(b"HTTP/1.1 101 ")
        wire = await rig.ask(handshake("wrong"))
        assert (await wire.head()).startswith(b"HTTP/1.1 401 ")
    assert len(seen) == 1
    assert b"\r\nSec-WebSocket-Protocol: realtime, beta\r\n" in seen[0]
    assert b"sk-" not in seen[0]


async def test_the_openai_sdk_takes_its_key_along() -> None:
    """And knows each refusal by its class, as people catch it."""

    async def once(wire: Wire) -> None:
        await wire.until(b"}")
        found = b'{"data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]}'
        await wire.send(answer(found, "Content-Type: application/json"))

    def talk(url: str) -> tuple[list[str], list[str]]:
        errors = []

        def client(key: str) -> openai.OpenAI:
            return openai.OpenAI(base_url=url, api_key=key, max_retries=0)

        with client(SECRETS["tiny"]) as tiny, client("sk-wrong") as wrong:
            models = [model.id for model in tiny.models.list()]
            for who, model in ((wrong, "tiny"), (tiny, "coder")):
                with pytest.raises(openai.APIStatusError) as caught:
                    who.embeddings.create(model=model, input="x")
                errors.append(f"{type(caught.value).__name__} {caught.value.code}")
        with client(SECRETS["slow"]) as slow:
            slow.embeddings.create(model="coder", input="x")
            slow.embeddings.create(model="coder", input="x")
            with pytest.raises(openai.RateLimitError) as limited:
                slow.embeddings.create(model="coder", input="x")
            errors.append(limited.value.response.headers["retry-after"])
        return models, errors

    async with running(once) as rig:
        rig.settings.server = WITH_KEYS
        models, errors = await trio.to_thread.run_sync(talk, f"http://127.0.0.1:{rig.port}/v1")
    assert models == ["many/tiny", "tiny", "small"]
    assert errors == ["AuthenticationError invalid_api_key", "NotFoundError model_not_found", "30"]
