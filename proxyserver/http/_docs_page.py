"""The page `/docs`: the table of all routes for people, in one file without a script.

A viewer of OpenAPI documents (Swagger UI, Redoc, RapiDoc) is a program of 0.8 to 1.5 MB that needs
scripts and styles in the page allowed.  This page shows the same table that `/openapi.json` is made
of, works without a network, and its policy lets nothing in but its own style.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape

from proxyserver.surfaces import ANY

from ._routes import GENERAL_ERRORS, TABLE, Entry, Who
from .errors import CODES

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
code, pre, .path { font-family: ui-monospace, monospace; font-size: .92em; }
code { background: var(--soft); padding: .1em .3em; border-radius: .2em; }
pre { background: var(--soft); padding: .6rem .8rem; border-radius: .3rem; overflow-x: auto; }
nav { columns: 20rem; font-size: .92em; }
nav a { display: block; text-decoration: none; break-inside: avoid; overflow-wrap: anywhere; }
section { margin: 1.5rem 0; padding-left: .9rem; border-left: 3px solid var(--line); }
section h3 { margin: 0; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 3.4rem; font-weight: 700; }
.who { color: var(--quiet); font-size: .9em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .6rem 0; }
dt { font-family: ui-monospace, monospace; font-size: .92em; }
dd { margin: 0; }
summary { cursor: pointer; color: var(--quiet); }
@media (max-width: 40rem) { dl { display: block; } dd { margin: 0 0 .4rem 1rem; } }
""".strip()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_WHO: dict[Who, str] = {
    "anyone": "open: needs no key",
    "key": "any key, where there are keys",
    "inference": "keys with the role inference, where there are keys",
    "metrics": "keys with the role metrics or admin, where there are keys",
    "admin": "keys with the role admin, where there are keys",
}
_CODE = re.compile(r"`([^`]*)`")


def page(version: str, url: str) -> str:
    """Return the page.

    Args:
        version: of the proxy.
        url: where whoever looks has found it.
    """
    served = [entry for entry in TABLE if entry.is_for_services]
    own = [entry for entry in TABLE if not entry.is_for_services]
    general = ", ".join(f"<code>{code}</code>" for code in GENERAL_ERRORS)
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>API of the AI inference proxy</title><style>{_STYLE}</style></head><body>",
            (
                f"<h1>API of the AI inference proxy</h1><p>Version {escape(version)}."
                ' For programs: <a href="openapi.json">openapi.json</a>.</p>'
            ),
            "<nav>",
            *(f'<a href="#{_id(one)}">{_title(one)}</a>' for one in (*served, *own)),
            "</nav>",
            "<h2>Requests for services</h2>",
            *(_section(entry, url) for entry in served),
            "<h2>The proxy itself</h2>",
            *(_section(entry, url) for entry in own),
            "<h2>Errors</h2>",
            (
                "<p>All have the shape of OpenAI's:"
                ' <code>{"error": {"message", "type", "param", "code"}}</code>.'
                f" Any route may answer {general}.</p>"
            ),
            _terms((code, _text(meaning)) for code, meaning in CODES.items()),
            "</body></html>",
            "",
        )
    )


def _section(entry: Entry, url: str) -> str:
    parts = [
        f'<section id="{_id(entry)}"><h3>{_title(entry)}</h3>',
        f'<p>{_text(entry.summary)}<br><span class="who">{_WHO[entry.who]}</span></p>',
    ]
    if entry.query:
        parts.append(
            _terms(
                (q.name, f"{'' if q.required else 'optional '}{q.kind}. {_text(q.meaning)}")
                for q in entry.query
            )
        )
    if entry.sent is not None:
        media = f"<code>{escape(entry.sent.media)}</code>"
        parts.append(f"<p>Body ({media}): {_text(entry.sent.meaning)}</p>")
    parts.append(f"<p>Answer (<code>{escape(entry.media)}</code>): {_text(entry.answer)}</p>")
    parts.append(f"<pre>{escape(_curl(entry, url))}</pre>")
    if entry.errors:
        errors = _terms((code, _text(CODES[code])) for code in entry.errors)
        parts.append(f"<details><summary>{len(entry.errors)} errors</summary>{errors}</details>")
    return "\n".join((*parts, "</section>"))


def _terms(rows: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{told}</dd>' for name, told in rows)}</dl>"


def _curl(entry: Entry, url: str) -> str:
    words = ["curl"]
    if entry.method not in ("GET", ANY) and entry.sent is None:
        words.append(f"-X {entry.method}")
    if entry.who != "anyone":
        words.append('-H "Authorization: Bearer $AIPROXY_API_KEY"')
    if entry.sent is not None:
        words.append(entry.sent.example)
    return " ".join((*words, f"'{url}{entry.path}'"))


def _title(entry: Entry) -> str:
    method = "ANY" if entry.method == ANY else entry.method
    return f'<span class="method">{method}</span> <span class="path">{escape(entry.path)}</span>'


def _id(entry: Entry) -> str:
    method = "any" if entry.method == ANY else entry.method.lower()
    return f"{method}{re.sub(r'[^a-z0-9]+', '-', entry.path)}".rstrip("-")


def _text(said: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(said, quote=False))
