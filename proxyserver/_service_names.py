"""Names of services for shells to complete: as the daemon has them, else as they are written."""

import os
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter

ASK_S = 0.5
"""Whoever presses Tab does not wait."""


def complete(_: Any = None) -> Iterable[str]:
    """Return all names, or none where anything is wrong: nobody reads an error there."""
    try:
        return _running() or _written()
    except Exception:
        return ()


def _running() -> list[str]:
    import httpx

    from .client import URL

    url = os.environ.get("AIPROXY_URL", URL).rstrip("/")
    try:
        answer = httpx.get(f"{url}/api/v1/services", timeout=ASK_S, trust_env=False)
        services = answer.raise_for_status().json()["services"]
    except httpx.HTTPError:
        return []
    return [name for one in services for name in (one["id"], *one["aliases"])]


def _written() -> list[str]:
    from ._configuration import usual_path
    from .settings.show import as_written

    path = usual_path()
    return [] if path is None else list(as_written(path)["services"])


Service = Annotated[str, Parameter(completer=complete)]
