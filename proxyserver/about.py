"""What is known of a model from its files: for lists that clients read before they ask."""

import attrs


@attrs.frozen
class About:
    """One model, as far as its head tells."""

    architecture: str
    parameters: int
    quantisation: str
    """As llama.cpp calls it: `Q4_K_M`."""
    size: int
    """Bytes of its weights."""
    trained_context: int
    """Tokens."""
    context: int
    """Tokens that a request may have here."""
