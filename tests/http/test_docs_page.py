"""The page of the API shows all of it, and needs nothing from anywhere."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

from proxyserver.http._routes import TABLE
from proxyserver.http.errors import CODES

from .rig import Rig, running

EMPTY = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page, and complains of what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


async def shown(rig: Rig, *headers: str) -> tuple[bytes, str]:
    status, head, body = await rig.get("/docs", *headers)
    assert status == 200
    return head, body.decode()


async def test_every_route_and_every_error_is_shown() -> None:
    """With its path, its parameters, and a link to it."""
    async with running() as rig:
        _, page = await shown(rig)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert len({*ids}) == len(ids) == len(TABLE)
    assert [*links[1:]] == [f"#{one}" for one in ids]
    text = unescape(page)
    for entry in TABLE:
        assert f'<span class="path">{entry.path}</span>' in text
        for query in entry.query:
            assert f"<dt>{query.name}</dt>" in text
    for code in CODES:
        assert f"<dt>{code}</dt>" in text


async def test_nothing_else_is_loaded() -> None:
    """Its policy lets in its own style alone, which is what it has."""
    async with running() as rig:
        head, page = await shown(rig)
    assert not re.search(
        r"<(script|link|img|iframe|object|form)|\bsrc=|@import|url\(|\son\w+=", page
    )
    assert [*re.findall(r'href="([^#"]+)"', page)] == ["openapi.json"]
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.findall(rb"\r\ncontent-security-policy: ([^\r]*)", head)
    assert policy == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'".encode()
    ]


async def test_the_examples_are_for_where_it_was_found() -> None:
    """A name that was allowed cannot write into the page."""
    async with running() as rig:
        lines = "GET /docs HTTP/1.1\r\nHost: a.localhost:12\r\nConnection: close\r\n\r\n"
        wire = await rig.ask(lines.encode())
        await wire.head()
        assert b"&#x27;http://a.localhost:12/v1/models&#x27;" in await wire.rest()
        wire = await rig.ask(lines.replace("a.loc", "<script>.loc").encode())
        assert b"<script>" not in await wire.rest()
