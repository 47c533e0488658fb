"""Each template has a page that is true: an example that works, and how it was verified."""

import re
from pathlib import Path

import pytest

from proxycore import DeviceId
from proxycore.config import GIB
from proxyserver.settings import Service
from proxyserver.templates import TEMPLATES
from tests.settings.writing import Folder
from tests.templates.known import failures_of

DOCS = Path(__file__).parents[2] / "docs/reference"
NAMES = [name for name in TEMPLATES if name != "custom"]


def page(name: str) -> str:
    return (DOCS / f"templates/{name}.md").read_text()


def example(name: str, tmp_path: Path) -> list[Service]:
    """Return the services of the first configuration of the page, with the models in place."""
    written = re.findall(r"((?:^    .*\n)+)", page(name), re.M)[0]
    assert f"type: {name}\n" in written
    for path in re.findall(r"\./(\S+)", written):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch() if file.suffix else file.mkdir()
    gpus = {DeviceId("gpu0"): 24 * GIB}
    folder = Folder(tmp_path, find_gpus=lambda: gpus)
    text = "server: {runtime: docker, ram: 64GiB}\n" + re.sub(r"^    ", "", written, flags=re.M)
    return [*folder.load(text).services.values()]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_works(name: str, tmp_path: Path) -> None:
    """It is accepted, and shows this type."""
    services = example(name, tmp_path)
    assert services
    assert {service.type for service in services} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_closed_to_clients_is_told(name: str, tmp_path: Path) -> None:
    """Each path that administers it stands on its page."""
    closed = {pattern for service in example(name, tmp_path) for pattern in service.closed}
    assert {pattern for pattern in closed if f"`{pattern}`" not in page(name)} == set()


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_it_was_verified(name: str) -> None:
    """A reader knows what was seen with a real server, and what was only read of."""
    assert "## Verified" in page(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_listed(name: str) -> None:
    """Whoever looks for the types of services finds it."""
    assert f"(templates/{name}.md)" in (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_its_failures_are_told(name: str) -> None:
    """Each kind of failure that it knows stands on its page."""
    kinds = {failure.kind for failure in failures_of(name)}
    # The router is the same program.
    told = page(name) + page("llamacpp") if name == "llamacpp-router" else page(name)
    assert {kind for kind in kinds if f"`{kind}`" not in told} == set()


def test_registry_knows_templates_by_their_names() -> None:
    """What users write as `type` is the name of the template."""
    assert [template.name for template in TEMPLATES.values()] == list(TEMPLATES)
