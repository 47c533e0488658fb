"""Who is meant by a request that says nothing has to be somebody."""

from .writing import Folder

SERVICES = """
    services:
      coder:
        external: {url: "http://127.0.0.1:9"}
        aliases: [org/coder-7b]
"""


def test_the_default_model_is_one_of_the_names(folder: Folder) -> None:
    """Of a service, or an alias."""
    for name in ("coder", "org/coder-7b"):
        settings = folder.load(f"    server: {{default_model: {name}}}{SERVICES}")
        assert settings.server.default_model == name
    assert folder.load(SERVICES).server.default_model is None


def test_a_default_model_that_nobody_has_is_told(folder: Folder) -> None:
    """With its place, and what is near."""
    (problem,) = folder.problems(f"    server: {{default_model: codre}}{SERVICES}")
    place = "1:25: server.default_model: "
    assert problem == f"{place}nobody has the model 'codre'; did you mean 'coder'?"
