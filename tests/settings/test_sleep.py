"""How a server is put to sleep and woken, as it is written."""

import pytest

from proxycore import RAM, Placement, ServiceId
from proxycore.config import MIB
from proxyserver.runtime._protocol import Call
from proxyserver.settings import Service

from .writing import Folder

A = ServiceId("a")
WHERE = "container: {image: x, port: 1}, memory: {ram: 9MiB}, asleep: {ram: 1MiB}"


def service(folder: Folder, keys: str) -> Service:
    return folder.load(f"services: {{a: {{{WHERE}, {keys}}}}}").services[A]


def test_one_request_or_several(folder: Folder) -> None:
    """A mapping, or a list of them; a body is sent as JSON."""
    wake = "[{path: /w}, {path: /r, body: {method: reload, parts: [1, 2.5, true]}}]"
    found = service(folder, f"sleep: {{path: /s, method: PUT}}, wake: {wake}")
    assert found.launch.sleep == (Call("/s", "PUT"),)
    assert found.launch.wake == (
        Call("/w"),
        Call("/r", body='{"method": "reload", "parts": [1, 2.5, true]}'),
    )
    assert found.spec.asleep == (Placement.of([(RAM, MIB)]),)


@pytest.mark.parametrize(
    ("keys", "where", "said"),
    [
        ("sleep: {path: s}, wake: {path: /w}", "sleep.path", "expected a path that starts with /"),
        ("sleep: {path: /s}, wake: [{path: /w}, {path: w}]", "wake[1].path", "expected a path"),
        ("sleep: {path: /s}", "wake", "is missing: who sleeps must be woken"),
        ("sleep: {path: /s, body: 3}, wake: {path: /w}", "sleep.body", "expected a mapping or a"),
        ("sleep: {path: /s}, wake: [{path: /w, methd: GET}]", "wake[0].methd", "unknown key; did"),
        ("sleep: /s, wake: {path: /w}", "sleep", "expected a list, not '/s'"),
    ],
)
def test_mistakes_are_told_by_their_place(folder: Folder, keys: str, where: str, said: str) -> None:
    """Each by its key, and by its number where there are several."""
    [told] = folder.problems(f"services: {{a: {{{WHERE}, {keys}}}}}")
    assert f": services.a.{where}: {said}" in told
