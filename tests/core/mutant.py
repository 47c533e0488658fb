"""What a planted fault is."""

import attrs


@attrs.frozen
class Mutant:
    """A piece of source that occurs once in a module of proxycore, and what replaces it."""

    promise: int
    name: str
    module: str
    old: str
    new: str
