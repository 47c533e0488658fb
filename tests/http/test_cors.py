"""Pages of other sites get what they are listed for, and else nothing: on either lane."""

import attrs
import pytest

from .keys import ORIGIN, WITH_KEYS, ask, bearer, code
from .rig import answer, answering, raw, running

PREFLIGHT = (
    f"Origin: {ORIGIN}",
    "Sec-Fetch-Site: cross-site",
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization, content-type",
)


@pytest.mark.parametrize(
    "path", ["/service/coder/x", "/v1/chat/completions", "/v1/models", "/api/v1/services", "/no"]
)
async def test_a_listed_page_may_ask(path: str) -> None:
    """The proxy answers its browser, on every path, without a key and without a service."""
    async with running() as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=(ORIGIN,))
        status, head, said = await ask(rig, path, *PREFLIGHT, method="OPTIONS")
        assert (status, said, rig.conductor.asked) == (204, b"", [])
        for line in (
            f"Access-Control-Allow-Origin: {ORIGIN}",
            "Access-Control-Allow-Headers: authorization, content-type",
            "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE",
            "Vary: Origin",
        ):
            assert f"\r\n{line}\r\n".encode() in head
        assert b"Credentials" not in head


async def test_a_listed_page_may_read() -> None:
    """Streams and errors alike; what the service says to browsers does not count."""
    streamed = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        b"access-control-allow-origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\r\n"
        b"6\r\na: 1\n\n\r\n0\r\n\r\n"
    )
    page = (f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site")
    async with running(answering(streamed)) as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=(ORIGIN,))
        found = [
            await ask(rig, "/service/coder/x", *page, bearer("user")),
            await ask(rig, "/service/coder/x", *page),
            await ask(rig, "/v1/models", *page, bearer("user")),
            await ask(rig, "/no", *page, bearer("user")),
        ]
        assert [status for status, _, _ in found] == [200, 401, 200, 404]
        for _, head, _ in found:
            lines = [line for line in head.split(b"\r\n") if b"access-control" in line.lower()]
            assert lines == [
                f"Access-Control-Allow-Origin: {ORIGIN}".encode(),
                b"Access-Control-Expose-Headers: *",
            ]


@pytest.mark.parametrize("cors", [(), (ORIGIN,)])
async def test_other_pages_get_nothing(cors: tuple[str, ...]) -> None:
    """Neither an answer to the question of their browser, nor one to what needs none."""
    async with running(answering(answer(b"secret"))) as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=cors)
        other = [line.replace("chat.", "evil.") for line in PREFLIGHT]
        for method in ("OPTIONS", "GET", "POST"):
            status, head, said = await ask(
                rig, "/service/coder/x", *other, bearer("user"), method=method
            )
            assert (status, code(said)) == (403, "forbidden_origin")
            assert b"access-control" not in head.lower()
        assert rig.conductor.asked == []


async def test_a_listed_page_by_a_strange_name_gets_nothing() -> None:
    """The name that a page reached us by counts first."""
    async with running() as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=(ORIGIN,))
        lines = ["OPTIONS /v1/models HTTP/1.1", "Host: evil.example", *PREFLIGHT]
        wire = await rig.ask(raw("\n".join(lines)))
        assert (await wire.head()).startswith(b"HTTP/1.1 403 ")


async def test_an_options_that_is_no_preflight_is_the_services() -> None:
    """A program may ask what a path can."""
    async with running(answering(answer(b"", "Allow: GET"))) as rig:
        rig.settings.server = attrs.evolve(WITH_KEYS, cors=(ORIGIN,))
        status, head, _ = await ask(rig, "/service/coder/x", bearer("user"), method="OPTIONS")
        assert status == 200
        assert b"\r\nAllow: GET\r\n" in head
