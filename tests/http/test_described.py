"""What describes the API tells all of it: the table, the document, the page, the reference."""

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import attrs
import jsonschema
import pytest

from proxycore import Reason, ServiceId
from proxyserver.decisions import Candidate
from proxyserver.http._answers import NAMED
from proxyserver.http._openapi import openapi
from proxyserver.http._routes import GENERAL_ERRORS, TABLE
from proxyserver.http.errors import CODES, STATUS
from proxyserver.refused import Refused
from proxyserver.surfaces import SURFACES

from .described import check
from .keys import WITH_KEYS
from .rig import Rig, running

PAGE = (Path(__file__).parents[2] / "docs/reference/http-api.md").read_text()
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


async def test_the_document_lists_every_route() -> None:
    """What the server routes is what the table says, and what it answers for itself."""
    async with running() as rig:
        status, _, said = await rig.get("/openapi.json")
    document = json.loads(said)
    assert status == 200
    assert document == json.loads(json.dumps(openapi(document["info"]["version"])))
    assert set(document["paths"]) == {entry.path for entry in TABLE}


async def test_every_route_of_the_table_is_there() -> None:
    """None of them is an unknown path, or takes another method."""
    async with running() as rig:
        rig.conductor.refusals["coder"] = Refused(ServiceId("coder"), Reason.STOPPED, "why")
        rig.gate.images["coder"] = "tiny:1"
        for entry in TABLE:
            path = entry.path.replace("{id}", "coder").replace("{path}", "x")
            method = "GET" if entry.method == "*" else entry.method
            if entry.media == "text/event-stream":  # It has no end.
                wire = await rig.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert (await wire.head()).startswith(b"HTTP/1.1 200 ")
                continue
            status, _, body = await rig.get(path, method=method)
            assert status != 405, entry
            assert status != 404 or b'"code":"not_found"' not in body.replace(b" ", b""), entry


def test_the_page_has_every_route_and_no_other() -> None:
    """docs/reference/http-api.md and the table say the same, down to the parameters."""
    sections = dict(re.findall(r"^### `(\S+ \S+)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
    told = {f"{'ANY' if e.method == '*' else e.method} {e.path}": e for e in TABLE}
    by_model = dict(re.findall(r"^\| `([A-Z]+ /\S+)` \| (.*) \|$", PAGE, re.M))
    surfaces = {row.path: row for row in SURFACES}
    assert by_model == {
        what: surfaces[entry.path].summary for what, entry in told.items() if entry.path in surfaces
    }
    told = {what: entry for what, entry in told.items() if entry.path not in surfaces}
    assert set(sections) == set(told)
    for heading, entry in told.items():
        for query in entry.query:
            assert f"`{query.name}`" in sections[heading], (heading, query.name)


def test_the_page_has_every_error_and_no_other() -> None:
    """A code that a client meets can be looked up."""
    told = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE, re.M))
    assert set(told) == set(CODES)
    assert {reason: int(told[reason.value]) for reason in Reason} == STATUS


def test_every_code_of_the_table_is_known() -> None:
    """No route promises an error that has no meaning."""
    assert {code for entry in TABLE for code in entry.errors} | set(GENERAL_ERRORS) == set(CODES)


def test_a_candidate_has_what_its_class_has() -> None:
    """No other test lets one be told by HTTP."""
    fields = [field.name for field in attrs.fields(Candidate)]
    assert [*NAMED["Candidate"]["properties"]] == fields


async def test_an_answer_of_another_form_is_seen() -> None:
    """The check of all answers in these tests bites: on a key that is missing, and on one more."""
    async with running() as rig:
        _, _, said = await rig.get("/api/v1/container/coder")
    container = json.loads(said)
    less = {key: value for key, value in container.items() if key != "pid"}
    for wrong in (less, {**container, "more": 1}, {**container, "pid": "12"}):
        with pytest.raises(jsonschema.ValidationError):
            check("GET", "/api/v1/container/coder", 200, wrong)


def test_only_a_service_may_answer_as_it_likes() -> None:
    """Where it answers, the document allows anything; the proxy's own errors have their shape."""
    its_own = {"error": {"code": 404, "message": "no such file"}}
    document = openapi("1")
    answers = document["paths"]["/v1/rerank"]["post"]["responses"]
    assert {*answers["default"]["content"]} == {"application/json", "*/*"}
    schema = answers["default"]["content"]["application/json"]["schema"]
    jsonschema.validate(its_own, {**schema, "components": document["components"]})
    with pytest.raises(jsonschema.ValidationError):
        check("POST", "/v1/rerank", 404, its_own)


def test_the_document_has_the_methods_that_are_allowed() -> None:
    paths = openapi("1")["paths"]
    for row in SURFACES:
        allowed = {method.lower() for method in row.allow.split(", ")}
        assert {*paths[row.path]} in (allowed, allowed - {"head"})


async def test_the_schema_of_the_configuration_is_served() -> None:
    """To editors, which have no key to show; it is made once."""
    async with running() as rig:
        rig.settings.server = WITH_KEYS
        for _ in range(2):
            status, head, said = await rig.get("/api/v1/config/schema")
            assert (status, json.loads(said)) == (200, {"title": "of the configuration"})
            assert b"\r\ncontent-type: application/schema+json\r\n" in head
