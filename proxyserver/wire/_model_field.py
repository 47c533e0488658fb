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

    def renamed(self, name: bytes) -> int:
        """Return by how much the payload grows if this name is written in its place."""
        return len(name) - (self.end - self.start)


@attrs.frozen
class BadBody(Exception):
    """The body does not say, in one way only, which model it is for."""

    code: str
    """`invalid_json`, `invalid_form` or `missing_model`."""
    message: str

    def __str__(self) -> str:
        return self.message
