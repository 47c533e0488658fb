"""Rules about requests say what they mean, or are told with their place."""

from typing import Any

import pytest

from proxyserver.request_rules import BodyRules, RequestRules
from proxyserver.settings.show import resolved
from proxyserver.wire import Change

from .writing import Folder


def written(*lines: str) -> str:
    rules = "\n".join(f"      {line}" for line in lines)
    return (
        "services:\n  coder:\n    external: {url: 'http://127.0.0.1:9'}\n"
        f"    aliases: [strict]\n    requests:\n{rules}\n"
    )


def test_rules_are_read(folder: Folder) -> None:
    """Those of a name are complete: of a key, what the name says of it counts."""
    settings = folder.load(
        written(
            "model: real",
            "set: {temperature: 0.10, kwargs: {think: false, list: [null, a]}}",
            "default: {max_tokens: 4096, top_k: 1}",
            "strip: [seed]",
            "names:",
            "  strict: {set: {seed: 1, top_k: 2}, strip: [temperature]}",
            "headers: {set: {X-Team: blue team, Authorization: Bearer x}, remove: [Cookie]}",
            "size_max: 1MiB",
            "stall_s: 5m",
        )
    )
    (service,) = settings.services.values()
    kwargs = b'{"think": false, "list": [null, "a"]}'
    defaults = {"max_tokens": b"4096"}
    assert service.rules == RequestRules(
        BodyRules(
            "real",
            Change(
                {"temperature": b"0.1", "kwargs": kwargs},
                {**defaults, "top_k": b"1"},
                ("seed",),
            ),
        ),
        {
            "strict": BodyRules(
                "real",
                Change({"kwargs": kwargs, "seed": b"1", "top_k": b"2"}, defaults, ("temperature",)),
            )
        },
        size_max=1 << 20,
        dropped=frozenset({b"x-team", b"authorization", b"cookie"}),
        added=b"x-team: blue team\r\nauthorization: Bearer x\r\n",
        stall_s=300.0,
    )


def test_without_rules_there_are_none(folder: Folder) -> None:
    """So that they cost nothing."""
    (service,) = folder.load(written("strip: []")).services.values()
    assert service.rules is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("set: {model: x}", "6:20: services.coder.requests.set.model: the model is renamed by"),
        ("strip: [model]", "6:14: services.coder.requests.strip: the model is renamed by"),
        (
            "{set: {a: 1}, default: {a: 2}}",
            "6:34: services.coder.requests.default.a: 'a' is in `set` already",
        ),
        (
            "names: {stict: {}}",
            "6:15: services.coder.requests.names.stict: 'stict' is neither the id nor an alias",
        ),
        (
            "headers: {set: {HOST: x}}",
            "6:22: services.coder.requests.headers.set: 'host' is the proxy's own",
        ),
        (
            "headers: {remove: [transfer-encoding]}",
            "6:26: services.coder.requests.headers.remove[0]: 'transfer-encoding' is the proxy's",
        ),
        (
            "headers: {remove: ['a b']}",
            "6:26: services.coder.requests.headers.remove[0]: 'a b' is no name of a header",
        ),
        (
            'headers: {set: {a: "x\\r\\nHost: y"}}',
            "6:22: services.coder.requests.headers.set: the value of 'a' has other than visible",
        ),
        (
            "headers: {set: {a: b}, remove: [A]}",
            "6:26: services.coder.requests.headers.set.a: is removed, too",
        ),
        ("set: {a: .inf}", "6:12: services.coder.requests.set: 'a' cannot be said as JSON"),
    ],
)
def test_wrong_rules_are_told(folder: Folder, line: str, problem: str) -> None:
    """With line, column and key."""
    (found,) = folder.problems(written(line))
    assert found.startswith(problem)


def test_rules_are_shown_without_secrets(folder: Folder) -> None:
    """As they are meant, for all names."""
    rules = ("strip: [a]", "names: {strict: {set: {b: [1]}}}", "headers: {set: {X-Api-Key: k}}")
    shown = resolved(folder.load(written(*rules)))["services"]["coder"]["requests"]
    nothing: dict[str, Any] = {"model": None, "set": {}, "default": {}, "strip": ["a"]}
    assert shown == {
        **nothing,
        "names": {"strict": {**nothing, "set": {"b": [1]}}},
        "headers": {"set": {"x-api-key": "***"}, "remove": []},
        "size_max": None,
        "first_byte_s": None,
        "stall_s": None,
        "total_s": None,
    }
