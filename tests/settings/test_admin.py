"""What administers a service: known to its type, added to and allowed by name."""

import pytest

from proxycore import ServiceId
from proxyserver.settings import Service

from .writing import Folder

A = ServiceId("a")
CONTAINER = "container: {image: x, port: 1}"


def service(folder: Folder, keys: str, before: str = "") -> Service:
    return folder.load(f"{before}\nservices: {{a: {{{keys}}}}}").services[A]


def test_a_type_knows_its_own(folder: Folder) -> None:
    """More is added; nothing is closed where nobody says anything."""
    assert "DELETE /api/delete" in service(folder, "type: ollama, runtime: docker").closed
    added = service(folder, "type: ollama, runtime: docker, admin_paths: [/mine]").closed
    assert added[-1] == "/mine"
    assert len(added) > 1
    assert service(folder, CONTAINER).closed == ()
    assert service(folder, CONTAINER + ", admin_paths: [/x, GET /y]").closed == ("/x", "GET /y")


@pytest.mark.parametrize(
    ("allowed", "closed"),
    [("true", ()), ("false", ("/x", "/y")), ("[]", ("/x", "/y")), ("[/x]", ("/y",))],
)
def test_what_is_allowed_is_open(folder: Folder, allowed: str, closed: tuple[str, ...]) -> None:
    """One by one, or all."""
    found = service(folder, f"{CONTAINER}, admin_paths: [/x, /y], allow_admin: {allowed}")
    assert found.closed == closed


def test_a_template_of_ones_own_declares_them(folder: Folder) -> None:
    """As any key of a service."""
    own = f"templates: {{mine: {{{CONTAINER}, admin_paths: [/x/*]}}}}"
    assert service(folder, "type: mine", own).closed == ("/x/*",)


def test_models_are_closed_as_their_server_is(folder: Folder) -> None:
    """By whichever id a request comes."""
    folder.model("models/small.gguf")
    text = "type: llamacpp-router, runtime: docker, models_dir: models, models: [{name: small}]"
    services = folder.load(f"services: {{a: {{{text}}}}}").services
    assert services[A].closed == services[ServiceId("a/small")].closed
    assert "/models/load" in services[A].closed


def test_the_path_of_an_address_counts(folder: Folder) -> None:
    """The server is sent it before every path."""
    found = service(folder, "external: {url: 'http://peer/v1'}, admin_paths: [/v1/load]")
    assert found.closed_by("POST", b"/load") == "/v1/load"
    assert found.closed_by("POST", b"/load/x") is None


@pytest.mark.parametrize(
    ("keys", "where", "said"),
    [
        ("admin_paths: [sleep]", "admin_paths[0]", "'sleep' is no path of administration: /sleep,"),
        ("allow_admin: 3", "allow_admin", "expected a list, not 3; or true, false"),
        (
            "admin_paths: [/sleep], allow_admin: [/slep]",
            "allow_admin[0]",
            "'/slep' is none of its paths of administration (there are /sleep); did you mean",
        ),
        ("allow_admin: [/x]", "allow_admin[0]", "'/x' is none of its paths of administration (it"),
    ],
)
def test_mistakes_are_told(folder: Folder, keys: str, where: str, said: str) -> None:
    """What is no pattern, and what is allowed that nobody closed."""
    [told] = folder.problems(f"services: {{a: {{{CONTAINER}, {keys}}}}}")
    assert f": services.a.{where}: {said}" in told
