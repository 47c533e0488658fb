"""What another configuration would change: told by keys, and by how each comes into force."""

import attrs
import pytest

from proxycore import ServiceId
from proxyserver.settings import Changes, ServerSettings, Settings, kept
from proxyserver.settings._applies import SERVER, SERVICE, Applies
from proxyserver.settings._changes import _key
from proxyserver.settings._model import ServerEntry, ServiceEntry
from tests.house.docs import page, section

from .writing import Folder

A, D = ServiceId("a"), ServiceId("d")
BASE = {"process": "{command: [sh]}"}


def settings(folder: Folder, server: str = "", **services: dict[str, str]) -> Settings:
    """Return the settings of a file; services are their keys."""
    written = ", ".join(
        f"{name}: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"
        for name, keys in services.items()
    )
    return folder.load(f"server: {{ram: 2GiB, {server}}}\nservices: {{{written}}}")


def changes(folder: Folder, before: dict[str, str], after: dict[str, str]) -> Changes:
    """Return what changes for a service with these keys."""
    old, new = (
        settings(folder, a=keys if "container" in keys else BASE | keys) for keys in (before, after)
    )
    return Changes.of(old, new)


def test_every_key_says_how_it_applies() -> None:
    """Whoever adds a key must say it, and the reference says the same."""
    assert SERVER.keys() == {field.name for field in attrs.fields(ServerEntry)}
    assert SERVICE.keys() == {field.name for field in attrs.fields(ServiceEntry)}
    for field in attrs.fields(ServerSettings):
        assert _key(field.name).partition(".")[0] in SERVER
    text = section(page("reference/configuration.md"), "Changing it while it runs")
    for how in Applies:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {how.value} |")]
        _, _, server, service, _ = row.split("|")
        for cell, table in ((server, SERVER), (service, SERVICE)):
            told = [key.strip(" `") for key in cell.split(",") if key.strip()]
            assert told == [key for key, applies in table.items() if applies is how], how


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", "{ram: 1GiB}"),
        ("load_s", "3"),
        ("aliases", "[other]"),
        ("concurrency", "3"),
        ("priority", "3"),
        ("pinned", "true"),
        ("wait_s", "3"),
        ("start_s", "3"),
        ("start_max_s", "3"),
        ("idle_s", "3"),
        ("drain_s", "3"),
        ("drain_cuts", "true"),
        ("grace_s", "3"),
        ("queue_max", "3"),
        ("metrics", "/numbers"),
    ],
)
def test_what_applies_at_once_restarts_nothing(folder: Folder, key: str, value: str) -> None:
    """Such a key alone is told, and no other that is made of it but those that are."""
    found = changes(folder, {}, {key: value})
    assert found.changes.keys() == {A}
    assert key in found.changes[A]
    assert set(found.changes[A]) <= {key, "wake_s", "idle_s"}, "idle_s: auto is by load_s"
    assert found == Changes(changes=found.changes)
    assert found.is_felt


@pytest.mark.parametrize(
    ("key", "value"),
    [("ready", "{path: /up}"), ("ready_line", "listening"), ("live", "{path: /up}")],
)
def test_what_counts_at_the_next_start(folder: Folder, key: str, value: str) -> None:
    """A run that lives is judged as it was."""
    assert changes(folder, {}, {key: value}) == Changes(next_start={A: (key,)})


def test_who_starts_otherwise_restarts(folder: Folder) -> None:
    """With the keys of how, and all that changes with them; never with what they say."""
    other = {"process": "{command: [sh, -x], environment: {KEY: secret}}", "idle_s": "5"}
    found = changes(folder, {}, other)
    assert found == Changes(restarts={A: ("process.command", "process.environment", "idle_s")})
    assert "secret" not in str(found.as_json())
    moved = {"container": "{image: x, port: 1}"}
    assert changes(folder, {}, moved).restarts == {A: ("runtime", "container")}


def test_who_comes_and_goes(folder: Folder) -> None:
    """In the order of the file; who only moves in it has not changed."""
    old = settings(folder, a=BASE, b=BASE, c=BASE)
    new = settings(folder, d=BASE, c=BASE, b=BASE)
    assert Changes.of(old, new) == Changes(added=(D,), removed=(A,))
    assert not Changes.of(old, settings(folder, c=BASE, b=BASE, a=BASE))


def test_what_the_server_changes(folder: Folder) -> None:
    """Devices by name; what stays until the daemon starts again is kept, and told."""
    old = settings(folder, "port: 1, devices: {gpu0: 2GiB, gpu1: 2GiB}", a=BASE)
    new = settings(
        folder,
        "port: 2, journal: false, log: {level: DEBUG}, stall_s: 1,"
        " devices: {gpu0: 3GiB, gpu2: 1GiB}",
        a=BASE,
    )
    found = Changes.of(old, new)
    assert found == Changes(
        server=("log.level", "stall_s", "devices.gpu0", "devices.gpu2", "devices.gpu1"),
        needs_restart=("port", "journal"),
    )
    server = kept(old.server, new.server)
    assert (server.port, server.journal, server.stall_s) == (1, True, 1.0)
    only = Changes.of(old, attrs.evolve(old, server=attrs.evolve(old.server, port=2)))
    assert (only.is_felt, bool(only), bool(Changes())) == (False, True, False)
