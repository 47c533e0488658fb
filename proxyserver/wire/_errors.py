"""What is refused: bytes that two readers might take for two different things."""

import attrs


@attrs.frozen
class BadWire(Exception):
    """These bytes are no HTTP/1.1 that every server would read alike."""

    message: str
    """Ends the sentence "the peer sent ..."."""
    status: int = 400
    """What to answer to a client."""

    def __str__(self) -> str:
        return self.message
