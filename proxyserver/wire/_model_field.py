"""What the scanners of bodies have in common: who is asked for, and where that stands."""

import attrs

NAME_MAX = 4096
"""Of a model, as it is written in the body."""


@attrs.frozen
class ModelField:
    """The model that a body asks for."""

    name: str
    start: int
    """Where it is written in the payload."""
    end: int


@attrs.frozen
class BadBody(Exception):
    """The body does not say, in one way only, which model it is for."""

    code: str
    """`invalid_json`, `invalid_form` or `missing_model`."""
    message: str

    def __str__(self) -> str:
        return self.message


def missing_model() -> BadBody:
    return BadBody(
        "missing_model",
        "the request needs `model`, the name of a model as text; GET /v1/models lists them",
    )
