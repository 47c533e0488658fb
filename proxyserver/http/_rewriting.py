"""Changes a body that is held, and its target: the model by another name, what the rules want."""

import json
from contextlib import aclosing
from urllib.parse import quote

import attrs

from proxyserver.request_rules import BodyRules
from proxyserver.surfaces import ModelParameter
from proxyserver.wire import BadBody, Change, Edit, FormModel, JsonModel, changes

from ._exchange import Exchange, bad_body
from ._held import Held
from .errors import ApiError


async def rewrite(
    exchange: Exchange,
    held: Held,
    wanted: BodyRules,
    target: bytes,
    asked: ModelParameter | None,
) -> bytes:
    """Let a request say what is wanted; return its target.

    Args:
        exchange: whose body may not be read to its end yet.
        held: the body, as far as it was read.
        wanted: what it shall say.
        target: path and query.
        asked: how the query names the model, if it does.

    Raises:
        ApiError: all of the body is needed, and is too large, or none.
    """
    own, scan = wanted.model, held.scan
    if isinstance(scan, FormModel):
        if own is not None and scan.found is not None:
            held.edit([Edit(scan.found.start, scan.found.end, own.encode())])
    elif held.size:
        try:
            await _rewrite_json(exchange, held, wanted)
        except BadBody as bad:
            raise bad_body(bad) from bad
    elif own is not None and asked is None:
        mark = b"&" if b"?" in target else b"?"
        return b"%s%smodel=%s" % (target, mark, quote(own).encode())
    return target if own is None or asked is None else asked.renamed(target, own)


async def _rewrite_json(exchange: Exchange, held: Held, wanted: BodyRules) -> None:
    change = wanted.change
    if wanted.model is not None:
        name = json.dumps(wanted.model).encode()
        if change is None and isinstance(held.scan, JsonModel) and held.scan.found is not None:
            found = held.scan.found
            held.edit([Edit(found.start, found.end, name)])
            return
        change = change or Change()
        change = attrs.evolve(change, set={"model": name, **change.set})
    if change is None:
        return
    await held.add_rest(exchange)
    scan = JsonModel(change.keys)
    async with aclosing(held.pieces()) as pieces:
        async for piece in pieces:
            scan.feed(piece)
    held.edit(changes(scan.members, change))


def check_size(exchange: Exchange) -> None:
    """Refuse a body that is larger than the rules of its service allow.

    Raises:
        ApiError: 413.
    """
    most = None if exchange.rules is None else exchange.rules.size_max
    if most is not None and max(exchange.head.length, exchange.bytes_in) > most:
        message = f"the body is larger than service {exchange.service!r} takes, {most} bytes"
        raise ApiError(413, "request_too_large", f"{message} (requests.size_max)")
