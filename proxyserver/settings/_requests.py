"""From `requests:` of a service to the rules that requests for it are changed by."""

from collections.abc import Iterator, Mapping

from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.wire import Change

from ._errors import Problems, Steps, near
from ._model import BodyEntry, RequestsEntry

_KINDS = ("set", "default", "strip")


def rules_of(
    entry: RequestsEntry, names: tuple[str, ...], has_models: bool, at: Steps, found: Problems
) -> RequestRules | None:
    """Return the rules of a service; None: it has none.

    Args:
        entry: what is written.
        names: the id and the aliases of the service.
        has_models: whether it is a server of models that are asked for by their own names.
        at: the service.
        found: gets what is wrong.
    """
    here = (*at, "requests")
    if entry == RequestsEntry():
        return None
    _check(entry, here, found)
    for name, one in (entry.names or {}).items():
        _check(one, (*here, "names", name), found)
        if name not in names:
            message = f"{name!r} is neither the id nor an alias of the service{near(name, names)}"
            found.add((*here, "names", name), message, at_key=True)
    if has_models and entry.model is not None:
        message = "the models of this server have names of their own, by which they are asked for"
        found.add((*here, "model"), message, at_key=True)
    both = sorted({*(entry.headers.set or {})} & {*entry.headers.remove})
    for name in both:
        found.add((*here, "headers", "set", name), "is removed, too: say one of the two")
    added = entry.headers.set or {}
    return RequestRules(
        body=_body(entry),
        by_name={name: _body(entry, one) for name, one in (entry.names or {}).items()},
        size_max=entry.size_max,
        dropped=frozenset(name.encode() for name in (*added, *entry.headers.remove)),
        added="".join(f"{name}: {value}\r\n" for name, value in added.items()).encode(),
        first_byte_s=entry.first_byte_s,
        stall_s=entry.stall_s,
        total_s=entry.total_s,
    )


def _check(entry: BodyEntry, at: Steps, found: Problems) -> None:
    seen: dict[str, str] = {}
    for kind, key in _keys(entry):
        steps = (*at, kind) if kind == "strip" else (*at, kind, key)
        if key == "model":
            found.add(steps, "the model is renamed by `model:` of the rules")
        if key in seen:
            found.add(steps, f"{key!r} is in `{seen[key]}` already: say one of the two")
        seen[key] = kind


def _keys(entry: BodyEntry) -> Iterator[tuple[str, str]]:
    for kind in _KINDS:
        for key in getattr(entry, kind) or ():
            yield kind, key


def _body(*entries: BodyEntry) -> BodyRules:
    """Put rules together; of a key, the last ones that speak of it count."""
    model = None
    rules: dict[str, tuple[str, bytes]] = {}
    for entry in entries:
        model = entry.model or model
        for kind, key in _keys(entry):
            values: Mapping[str, str] = {} if kind == "strip" else getattr(entry, kind)
            rules.pop(key, None)
            rules[key] = kind, values.get(key, "").encode()

    def chosen(wanted: str) -> dict[str, bytes]:
        return {key: value for key, (kind, value) in rules.items() if kind == wanted}

    change = Change(chosen("set"), chosen("default"), tuple(chosen("strip")))
    return BodyRules(model, change if rules else None)
