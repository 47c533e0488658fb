"""The API says which questions about use it does not understand, and where nothing is kept."""

import pytest

from .rig import running
from .test_configuration import ask


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("by=hour", "by"),
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("to=1.1.26", "to"),
        ("from=2026-11-02&to=2026-11-01", "from"),
    ],
)
async def test_what_is_no_question_about_use_is_refused(query: str, param: str) -> None:
    async with running() as rig:
        status, said = await ask(rig, f"/api/v1/usage?{query}", method="GET")
    assert (status, said["error"]["param"]) == (400, param)


async def test_where_nothing_is_kept_there_is_nothing() -> None:
    async with running() as rig:
        status, said = await ask(rig, "/api/v1/usage", method="GET")
    assert (status, said["error"]["code"]) == (404, "no_statistics")
    assert "server.usage_days" in said["error"]["message"]
