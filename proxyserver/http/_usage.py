"""The part of the API that tells what was used, by service, model, key or day."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._ports import Metrics
from ._query import parsed
from .errors import ApiError

BY = ("service", "model", "key", "day")
DAYS = 30
"""How far it looks back if nobody says."""


@attrs.frozen
class UsageApi:
    """Answers what was used."""

    _metrics: Metrics

    async def tell(self, request: Request) -> Response:
        by = parsed(request, "by", "service", _BY.__getitem__, "one of " + ", ".join(BY))
        last = _day(request, "to", datetime.now(UTC).date())
        first = _day(request, "from", last - timedelta(days=DAYS - 1))
        rows = await self._metrics.usage(by, first.isoformat(), last.isoformat())
        if rows is None:
            raise ApiError(404, "not_found", "no statistics are kept here: see `server.usage_days`")
        told = {"by": by, "from": first.isoformat(), "to": last.isoformat(), "rows": rows}
        return JSONResponse(told)


_BY: Mapping[str, str] = {one: one for one in BY}


def _day(request: Request, name: str, default: date) -> date:
    return parsed(request, name, default, date.fromisoformat, "a day, such as 2026-11-27")
