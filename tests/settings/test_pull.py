"""Whether a missing image is fetched, as it is written."""

import pytest

from proxycore import ServiceId
from proxyserver.settings import Settings

from .writing import Folder

CONTAINER = "container: {image: 'a:1', port: 80}"


def said(settings: Settings) -> dict[ServiceId, str]:
    return {key: service.pull for key, service in settings.services.items()}


@pytest.mark.parametrize(
    ("server", "keys", "pull"),
    [
        ("", "", "never"),
        ("", ", pull: missing", "missing"),
        ("pull: missing", "", "missing"),
        ("pull: missing", ", pull: never", "never"),
    ],
)
def test_a_service_says_it_or_the_server_does(
    folder: Folder, server: str, keys: str, pull: str
) -> None:
    """Nothing is fetched unless somebody says so."""
    text = f"server: {{{server}}}\nservices: {{a: {{{CONTAINER}{keys}}}}}"
    assert said(folder.load(text)) == {"a": pull}


def test_what_has_no_image_cannot_fetch_one(folder: Folder) -> None:
    """Said by line and column; the server's default is not meant for it."""
    text = "services: {a: {process: {command: sh}, pull: missing}}"
    assert folder.problems(text) == ["1:46: services.a.pull: only containers have images"]
    folder.load("server: {pull: missing}\nservices: {a: {process: {command: sh}}}")


def test_always_is_no_choice(folder: Folder) -> None:
    """As compose has it; what there is, is told."""
    (problem,) = folder.problems(f"services: {{a: {{{CONTAINER}, pull: always}}}}")
    assert "'always'" in problem
    assert "never" in problem
    assert "missing" in problem


def test_the_word_of_compose_leads_to_ours(folder: Folder) -> None:
    """Below `container:` it is refused with what to write."""
    text = "services: {a: {container: {image: 'a:1', port: 80, pull_policy: missing}}}"
    (problem,) = folder.problems(text)
    assert "write `pull: missing` beside `container`" in problem
