"""The models of a server become services inside it."""

import pytest

from proxycore import DeviceId, DeviceSpec, ServiceId, Unit

from .writing import Folder

TEXT = """
    server: {{devices: {{gpu0: 24GiB, gpu1: 24GiB}}, ram: 32GiB}}
    services:
      router:
        type: {type}
        process: {{command: [/bin/true]}}
        priority: 2
        idle_s: 77
        models_max: 2
        {more}
        models:
          - {{name: Qwen/Small, aliases: [tiny], memory: {{vram: 4GiB, ram: 1GiB}}, load_s: 3}}
          - {{name: {name}, idle_s: never, priority: 0, wait_s: 9}}
"""


def test_a_model_is_a_service_inside_its_server(folder: Folder) -> None:
    """With claims of its own, one of its places, and the server's settings where it has none."""
    settings = folder.load(TEXT.format(type="llamacpp-router", more="models_dir: .", name="large"))
    small, large = (
        settings.services[ServiceId(f"router/{name}")] for name in ("Qwen/Small", "large")
    )
    count = DeviceId("router:models")
    assert settings.core.devices[-1] == DeviceSpec(count, 2, headroom=0, unit=Unit.MODELS)
    assert [one.on(DeviceId("gpu0")) for one in small.spec.placements] == [4 << 30, 0]
    assert all(one.on(count) == 1 for one in (*small.spec.placements, *large.spec.placements))
    assert (small.spec.host, small.model, small.spec.aliases) == ("router", "Qwen/Small", ("tiny",))
    assert (small.spec.priority, small.spec.idle_s, small.spec.load_s) == (2, 77.0, 3.0)
    assert (large.spec.priority, large.spec.idle_s, large.wait_s) == (0, None, 9.0)


@pytest.mark.parametrize(
    ("type_", "more", "name", "said"),
    [
        ("custom", "", "large", "loads and unloads no models"),
        ("llamacpp-router", "models_dir: .", "Qwen/Small", "is named twice"),
        ("llamacpp-router", "models_dir: nowhere", "large", "no such folder"),
    ],
)
def test_what_cannot_be_is_told(
    folder: Folder, type_: str, more: str, name: str, said: str
) -> None:
    """A server that has no models, a model twice, a folder that is not there."""
    problems = folder.problems(TEXT.format(type=type_, more=more, name=name))
    assert any(said in problem for problem in problems), problems


def test_models_that_are_loaded_from_the_start_are_names(folder: Folder) -> None:
    """Unless somebody has them: a service by its id or alias, another's model, or one before."""
    folder.model("models/org.gguf")
    folder.model("mine/x")
    services = folder.load("""
        services:
          one: {type: infinity, runtime: docker, model: [a/b, c/d, ./mine, taken, org]}
          two: {type: infinity, runtime: docker, model: [a/b, e/f], aliases: [taken]}
          three: {type: llamacpp-router, runtime: docker, models_dir: models, models: [{name: org}]}
    """).services
    assert services[ServiceId("one")].spec.aliases == ("a/b", "c/d", "mine")
    assert services[ServiceId("two")].spec.aliases == ("taken", "e/f")
