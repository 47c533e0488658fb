"""Where servers tell Prometheus of themselves, as it is written or as their templates know."""

import pytest

from proxycore import ServiceId

from .writing import Folder

MODELS = "models: [{name: x/y}]"
ROUTER = f"{{type: llamacpp-router, models_dir: ., binary: 'true', runtime: process, {MODELS}}}"


@pytest.mark.parametrize(("keys", "path"), [("", None), (", metrics: /m/p", "/m/p")])
def test_as_it_is_written(folder: Folder, keys: str, path: str | None) -> None:
    """Nobody guesses where a server tells them that no template knows."""
    services = folder.load(f"services: {{a: {{container: {{image: x, port: 1}}{keys}}}}}").services
    assert services[ServiceId("a")].metrics == path


def test_what_a_template_knows_can_be_left_out(folder: Folder) -> None:
    """Some servers wake for the question."""
    folder.model("x.gguf")
    written = "{type: llamacpp, model: x.gguf, memory: {ram: 1GiB}, runtime: process, binary: sh"
    services = folder.load(f"services: {{a: {written}}}, b: {written}, metrics: false}}}}").services
    assert [service.metrics for service in services.values()] == ["/metrics", None]


def test_a_path_that_is_none(folder: Folder) -> None:
    """It is told by its place."""
    [told] = folder.problems("services: {a: {container: {image: x, port: 1}, metrics: m}}")
    assert ": services.a.metrics: expected a path that starts with /" in told


def test_each_model_of_a_router_has_its_own(folder: Folder) -> None:
    """The question names the model, and the server itself has no answer."""
    services = folder.load(f"services: {{r: {ROUTER}}}").services
    assert services[ServiceId("r")].metrics is None
    assert services[ServiceId("r/x/y")].metrics == "/metrics?model=x%2Fy&autoload=false"
