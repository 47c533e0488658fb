"""Draws docs/reference/lifecycle.md from the table that the core works by."""

from collections.abc import Iterator

from proxycore import _lifecycle
from proxycore._lifecycle import HOLDING, TABLE

from .tree import ROOT

PAGE = ROOT / "docs" / "reference" / "lifecycle.md"


def _lines() -> Iterator[str]:
    yield "# The life of a service"
    yield ""
    yield "Drawn from `proxycore/_lifecycle.py` by `python -m tests.house.lifecycle_page`."
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> down"
    for state, steps in TABLE.items():
        for step, after in steps.items():
            yield f"    {state.value} --> {after.value}: {step.value}"
    yield "```"
    yield ""
    yield "| state | holds its claim | steps |"
    yield "|---|---|---|"
    for state, steps in TABLE.items():
        told = ", ".join(f"{step.value} → `{after.value}`" for step, after in steps.items())
        yield f"| `{state.value}` | {'yes' if state in HOLDING else 'no'} | {told} |"
    yield ""
    yield "## Theory of operation"
    yield ""
    yield "```text"
    assert _lifecycle.__doc__ is not None
    yield _lifecycle.__doc__.split("===\n", 1)[1].strip()
    yield "```"


def draw() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(draw())
