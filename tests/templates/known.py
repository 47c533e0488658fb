"""What a template knows of failures."""

import sys

from proxyserver.runtime._protocol import FailurePattern
from proxyserver.templates import TEMPLATES


def failures_of(name: str) -> tuple[FailurePattern, ...]:
    """Return the patterns of a template: its own as data, else those of its module."""
    template = TEMPLATES[name]
    module = sys.modules[type(template).__module__]
    found: tuple[FailurePattern, ...] = getattr(
        template, "failures", getattr(module, "FAILURES", ())
    )
    return found
