"""Finds `model` in a query, and writes another name in its place."""

from urllib.parse import quote, unquote_plus

import attrs


@attrs.frozen
class ModelParameter:
    """The model that a query names."""

    name: str
    start: int
    """Where it is written in the target."""
    end: int

    def renamed(self, target: bytes, name: str) -> bytes:
        """Return the target with another name in the place of this one."""
        return target[: self.start] + quote(name, safe="/:").encode() + target[self.end :]


def model_parameter(target: bytes) -> ModelParameter | None:
    """Return the model that the query of a target names; None: it names none.

    Raises:
        ValueError: it names several; servers take the first or the last.

    >>> model_parameter(b"/props?a=1&model=many%2Ftiny")
    ModelParameter(name='many/tiny', start=17, end=28)
    """
    at = target.find(b"?") + 1
    found = None
    if not at:
        return None
    for part in target[at:].split(b"&"):
        name, _, value = part.partition(b"=")
        if unquote_plus(name.decode("latin-1")) == "model" and value:
            if found is not None:
                raise ValueError("the query names `model` twice; say it once")
            text = unquote_plus(value.decode("latin-1"), errors="replace")
            end = at + len(part)
            found = ModelParameter(text, end - len(value), end)
        at += len(part) + 1
    return found
